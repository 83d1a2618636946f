package main

import (
	"context"
	"fmt"
	"os"

	"github.com/chaperone-dev/chaperone/hack/cluster/component"
	"github.com/chaperone-dev/chaperone/hack/cluster/debian"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
	"github.com/chaperone-dev/chaperone/hack/cluster/image"
	"github.com/chaperone-dev/chaperone/hack/cluster/node"
	"github.com/chaperone-dev/chaperone/hack/cluster/progress"
)

func buildVerb(ctx context.Context, _ []string) error {
	f, err := folder.Find()
	if err != nil {
		return err
	}
	if err := build(ctx, f); err != nil {
		return err
	}
	return buildDistributions(ctx, f, image.Distributions()...)
}

// build makes what a cluster needs to start.
func build(ctx context.Context, f folder.Folder) error {
	release, err := folder.Lock(f.BuildLock(), func() {
		fmt.Fprintln(os.Stderr, "waiting for another build to end")
	})
	if err != nil {
		return err
	}
	defer release()
	plan := progress.New(len(component.All) + 1)
	// The packages come first: a mirror that is down shows at once, not after
	// ten minutes.
	if debian.HaveNodeTools(f) {
		plan.Skip()
	} else if err := plan.Run("runc and nft from packages", debian.ExpectNodeTools, func(*progress.Step) error {
		return debian.NodeTools(ctx, f)
	}); err != nil {
		return fmt.Errorf("taking runc and nft from packages: %w", err)
	}
	if err := component.Build(ctx, f, plan, component.All...); err != nil {
		return err
	}
	for _, name := range node.SystemImages {
		if err := image.System(f, name); err != nil {
			return err
		}
	}
	return component.LinkPath(f)
}

func assetsVerb(ctx context.Context, _ []string) error {
	f, err := folder.Find()
	if err != nil {
		return err
	}
	release, err := folder.Lock(f.BuildLock(), func() {
		fmt.Fprintln(os.Stderr, "waiting for another build to end")
	})
	if err != nil {
		return err
	}
	defer release()
	if err := component.Build(ctx, f, progress.New(1), component.Kube); err != nil {
		return err
	}
	if err := component.LinkAssets(f); err != nil {
		return err
	}
	fmt.Println(f.Assets())
	return nil
}

// buildDistributions makes the named images that are not up to date.
func buildDistributions(ctx context.Context, f folder.Folder, names ...string) error {
	release, err := folder.Lock(f.BuildLock(), func() {
		fmt.Fprintln(os.Stderr, "waiting for another build to end")
	})
	if err != nil {
		return err
	}
	defer release()
	plan := progress.New(2 * len(names))
	for _, name := range names {
		if image.NeedsKubectl(name) {
			if err := component.Build(ctx, f, plan, component.Kubectl); err != nil {
				return err
			}
		} else {
			plan.Skip()
		}
		current, err := image.Current(f, name)
		if err != nil {
			return err
		}
		if current {
			plan.Skip()
			continue
		}
		if err := plan.Run("image "+name, image.ExpectDistribution, func(step *progress.Step) error {
			return image.BuildDistribution(ctx, f, name, step.Say)
		}); err != nil {
			return fmt.Errorf("building image %s: %w", name, err)
		}
	}
	return nil
}
