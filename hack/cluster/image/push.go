package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Push sends an archive's image to a registry under the given reference, with
// the credentials of `docker login` where there are any.
func Push(ctx context.Context, path, reference string) error {
	target, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("reading the reference: %w", err)
	}
	image, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := remote.Write(target, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing %s: %w", reference, err)
	}
	return nil
}
