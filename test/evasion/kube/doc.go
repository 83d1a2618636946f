// Package kube holds what an adversary tries against the Kubernetes path of a sidecar, and the tests that try it: every
// case is run through the sidecar's own code against a real API server, behind which is the server that container runtimes
// have for exec, attach and port-forward.
//
// A case is judged by what the API server or the container then saw, not by what the sidecar says of it: a command that
// was refused carries a word that no container may have been told, a port that was refused may have had no connection,
// and what the adversary received may hold no protected value. The sidecar has to live on: each family ends with an exec
// that is allowed.
//
// What an adversary tries, and where the cases of it are:
//
//   - SPDY in place of WebSocket and back, at once or by half: TestHandshakesThatAreNone; most families run over both.
//   - Frames: text and base64 subprotocols, fragments, several in one write, UTF-8 and base64 that are split, lengths that
//     lie: TestFramesOfEveryShape, TestFramesThatAreRefused; stream numbers over 127, out of order or used again, header
//     blocks that inflate: TestSPDYOfEveryShape, TestSPDYThatIsRefused.
//   - attach, and a shell that is told its commands on standard input: TestShellsThatReadStandardInput.
//   - Commands in another dress (shells, wrappers, interpreters, the linker): TestCommandsThatRulesForbid.
//   - cp, as tar and without it: TestFilesByOtherRoads.
//   - port-forward to another port than was judged or approved, or under rules that changed: TestPortsOverSPDY,
//     TestAPortThatWasNotNamedIsNotForwarded, TestPortsAreJudgedByTheRulesOfNow, TestAnApprovalUnderOnePolicyIsNoneUnderAnother.
//   - debug, ephemeral containers and copies of pods, eviction, scale, binding, resize, certificates, tokens of accounts,
//     rights, webhooks, the node's and the server's own paths: TestOtherRoadsToAChange.
//   - proxy subresources, raw paths with dots, encodings and capitals, parameters that say two things:
//     TestRequestsThatSayTwoThings.
//   - HTTP/2, another authority than the policy's, requests within requests: TestHTTP2IsNotSpoken, TestRequestsWithinRequests.
//   - Impersonation, a token of one's own, a front proxy's word: TestOtherIdentities.
//   - Values of Secrets by get, list, watch, bookmarks, table, protobuf, apply, dry runs, patches that copy or guess, errors
//     that quote: TestValuesOfSecretsInAnswers, TestRequestsThatSayTwoThings, and the Secrets of test/api/kube.
//   - Logs that are followed, cut, dated or of the container before: TestLogsAreMaskedHoweverTheyAreAskedFor.
//   - Access that is over while the agent does not read: TestTheEndOfAccessDoesNotWaitForTheAgent.
//
// Nothing here holds back a value that stands elsewhere than in a Secret: in an event that quotes it, a ConfigMap, a pod's
// environment (docs/limits.md).
package kube
