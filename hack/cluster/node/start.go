package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/hack/cluster/image"
)

// startTimeout bounds the whole start; an idle machine takes a tenth of it.
const startTimeout = 4 * time.Minute

// Run is the node from its first mount to its end: it sets up the namespaces
// it was started in, starts the programs, brings the cluster to the point where
// pods can be created, says so, and keeps the programs running until ctx ends.
// listen is the address on the host that leads to the API server.
func (n Node) Run(ctx context.Context, listen string) error {
	err := n.live(ctx, listen)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	report := err.Error()
	var failed *ProgramError
	if errors.As(err, &failed) {
		report = failed.Program + "\n" + report
	} else {
		report = "\n" + report
	}
	if werr := os.WriteFile(n.Folder.State("failure"), []byte(report), 0o644); werr != nil {
		return errors.Join(err, werr)
	}
	return err
}

func (n Node) live(ctx context.Context, listen string) error {
	if err := n.phase("mounts and network"); err != nil {
		return err
	}
	if err := n.mountAll(); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(Name)); err != nil {
		return fmt.Errorf("setting the node's name: %w", err)
	}
	if err := n.setUpNetwork(); err != nil {
		return err
	}
	if err := n.writeConfigs(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := n.openVolumes(ctx); err != nil {
		return err
	}
	failures := make(chan error, 16)
	var programs sync.WaitGroup
	start := func(p program) {
		programs.Go(func() {
			if err := n.keepRunning(ctx, p); err != nil {
				failures <- err
			}
		})
	}
	ready := make(chan error, 1)
	go func() { ready <- n.bringUp(ctx, listen, start) }()
	for {
		select {
		case err := <-failures:
			cancel()
			programs.Wait()
			return err
		case err := <-ready:
			if err != nil {
				cancel()
				programs.Wait()
				// A program that does not run is the better explanation.
				select {
				case failed := <-failures:
					return failed
				default:
					return err
				}
			}
		case <-ctx.Done():
			programs.Wait()
			return nil
		}
	}
}

// bringUp starts the programs in the order in which they need one another, and
// the work of one with the waiting of another.
func (n Node) bringUp(ctx context.Context, listen string, start func(program)) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	start(n.etcd())
	start(n.containerd())
	if err := n.phase("certificates"); err != nil {
		return err
	}
	if err := n.makePKI(ctx); err != nil {
		return err
	}
	if err := n.hostKubeconfig(listen); err != nil {
		return err
	}
	start(n.apiServer())
	images := make(chan error, 1)
	go func() { images <- n.loadSystemImages(ctx) }()
	if err := n.phase("API server"); err != nil {
		return err
	}
	if err := waitForAPIServer(ctx); err != nil {
		return err
	}
	start(n.controllerManager())
	start(n.scheduler())
	start(n.proxy())
	start(n.kubelet())
	if err := n.phase("node, service accounts and DNS"); err != nil {
		return err
	}
	if err := n.applyCluster(ctx); err != nil {
		return err
	}
	if err := <-images; err != nil {
		return err
	}
	if err := n.waitForCluster(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(n.Folder.State("ready"), nil, 0o644); err != nil {
		return fmt.Errorf("noting that the cluster is ready: %w", err)
	}
	return nil
}

// loadSystemImages gives containerd the images that the node itself needs.
func (n Node) loadSystemImages(ctx context.Context) error {
	for {
		if _, err := os.Stat(n.Folder.ContainerdSocket()); err == nil {
			break
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return &ProgramError{Program: "containerd", Err: fmt.Errorf("no socket: %w", err)}
		}
	}
	for _, name := range SystemImages {
		if _, _, err := image.Load(ctx, n.Folder, n.Folder.Image(name)); err != nil {
			return &ProgramError{Program: "containerd", Err: err}
		}
	}
	return nil
}

// SystemImages name the archives that a node needs to start.
var SystemImages = []string{"pause", "coredns"}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
