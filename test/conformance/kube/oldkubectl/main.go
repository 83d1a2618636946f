// Command oldkubectl is kubectl 1.28: from before WebSocket was what it opens exec, attach and port-forward with
// (KEP-4006; the default since 1.31).
package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
