// Command controlplane is etcd, kube-apiserver, kube-controller-manager and kubectl in one binary, built from
// their Go modules. It acts as the one it is called as (argv[0]), so that a folder of links to it is what envtest
// expects in KUBEBUILDER_ASSETS: with Go alone, no download, container or cluster is needed.
//
// Linked as one program rather than as four because they share most of their packages: it builds in about a third
// of the time and takes a quarter of the disk.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	kubectl "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	case "kubectl":
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			kubectl.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "%s: call this through a link named etcd, kube-apiserver, kube-controller-manager or kubectl ('make controlplane' makes them)\n", name)
		os.Exit(2)
	}
}
