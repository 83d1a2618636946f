package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
)

// rewatchDelay is between two watches, so that an API server that ends them at once is not hammered.
const rewatchDelay = time.Second

// follow prints the requests that there are, and each again when it changes, until the reader has had enough. A
// watch that ends is taken up again from a new list, of which only what is new is printed.
func (e *environment) follow(ctx context.Context, c *cluster.Cluster, namespace string, o *output, list *v1alpha1.ApprovalRequestList) error {
	seen := map[string]string{} // resource versions by namespace/name
	table := o.table(e.Out, e.paint, approvalColumns)
	show := func(r v1alpha1.ApprovalRequest) error {
		key := r.Namespace + "/" + r.Name
		if seen[key] == r.ResourceVersion && r.ResourceVersion != "" {
			return nil
		}
		seen[key] = r.ResourceVersion
		if printed, err := o.object(e.Out, &r, "ApprovalRequest"); printed || err != nil {
			return err
		}
		return table.add(approvalRows([]v1alpha1.ApprovalRequest{r}, time.Now()))
	}
	if !o.documents() {
		if err := table.print(approvalRows(list.Items, time.Now())); err != nil {
			return err
		}
		for i := range list.Items {
			seen[list.Items[i].Namespace+"/"+list.Items[i].Name] = list.Items[i].ResourceVersion
		}
	}
	for {
		for i := range list.Items {
			if err := show(list.Items[i]); err != nil {
				return err
			}
		}
		err := e.changes(ctx, c, namespace, list.ResourceVersion, show)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the reader has had enough
		}
		if err != nil && !errors.Is(err, errWatchEnded) {
			return err
		}
		if sleep(ctx, rewatchDelay) != nil {
			return nil //nolint:nilerr // as above
		}
		if list, err = c.Approvals(ctx, namespace); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // as above
			}
			return err
		}
	}
}

// errWatchEnded says that a watch is to be taken up again.
var errWatchEnded = errors.New("the watch ended")

func (e *environment) changes(ctx context.Context, c *cluster.Cluster, namespace, version string, show func(v1alpha1.ApprovalRequest) error) error {
	w, err := c.WatchApprovals(ctx, namespace, version)
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case event, open := <-w.ResultChan():
			if !open {
				return errWatchEnded
			}
			switch object := event.Object.(type) {
			case *v1alpha1.ApprovalRequest:
				if event.Type == watch.Deleted {
					continue
				}
				if err := show(*object); err != nil {
					return err
				}
			default:
				err := apierrors.FromObject(event.Object)
				if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
					return errWatchEnded
				}
				return fmt.Errorf("watching approval requests: %w", err)
			}
		}
	}
}
