package guard

// isolation is what must hold of every agent container.
func isolation() Chain {
	return Chain{
		privileged,    // privileged, Windows host processes
		capabilities,  // all dropped but the policy's
		escalation,    // allowPrivilegeEscalation
		seccomp,       // RuntimeDefault
		procMount,     // an unmasked /proc
		reservedNames, // containers that call themselves ours
		ourUID,        // runAsUser of the sidecar
		ourVolumes,    // mounts of what is ours
		tokenSecrets,  // Secrets of type service-account-token
	}
}

// Live is for an injected pod as it runs, whenever its sidecar attaches: what no policy could permit. What policies
// ask for beyond that is judged at creation; a policy that changes later leaves the pod its sidecar.
func Live() Chain {
	return append(isolation(),
		hostNamespaces,   // hostNetwork, hostPID, hostIPC
		sharedProcesses,  // shareProcessNamespace
		hostPath,         // the node's files
		nodeNetwork,      // volumes that the node connects to the network
		inlineCSI,        // drivers that bring tokens and secrets
		tokenProjections, // serviceAccountToken, podCertificate
		automount,        // the API server's own token
		ephemeralTarget,  // our process namespace
		injected,         // the sidecar is there, at the head
		sealed,           // and as the webhook wrote it
	)
}

// Created is for a pod that policies select, at its creation.
func Created() Chain {
	return append(Live(),
		pinnedImages,  // requirePinnedImages
		policySecrets, // credentials of a policy, in any form
		nameservers,   // who answers for the policy's names
		boundLabels,   // the labels that it is bound to are those that it has
	)
}

// Unselected is for a pod of a namespace with policies, none of which selects it.
func Unselected() Chain {
	return Chain{
		notMarked,     // nothing that pretends to be injected
		noAudience,    // no token for the broker
		policySecrets, // credentials of a policy
	}
}

// Updated is for an update, a resize included, of any pod of a namespace with policies.
func Updated() Chain {
	return Chain{
		marksUnchanged,      // our annotations and label
		containersUnchanged, // image, resources and all else of our containers
		pinnedImages,        // an agent's image may change, but not to one that is not pinned
	}
}

// Debugged is for new ephemeral containers in a pod that was injected.
func Debugged() Chain {
	return append(isolation(),
		ephemeralTarget,     // our process namespace
		pinnedImages,        // requirePinnedImages
		policySecrets,       // credentials of a policy
		containersUnchanged, // image and all else of our containers
		marksUnchanged,      // our annotations and label
	)
}
