package image

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// Load imports an archive into the running cluster's containerd, unless it has
// the same image under the same name already. It returns what the archive
// holds and whether there was anything to do.
func Load(ctx context.Context, f folder.Folder, path string) (Archive, bool, error) {
	archive, err := Read(path)
	if err != nil {
		return Archive{}, false, err
	}
	listed, err := ctr(ctx, f, "images", "list", "name=="+archive.Reference)
	if err != nil {
		return archive, false, err
	}
	if has(listed, archive) {
		return archive, false, nil
	}
	if _, err := ctr(ctx, f, "images", "import", path); err != nil {
		return archive, false, err
	}
	return archive, true, nil
}

// has looks for the archive's digest in what `ctr images list` says: a line for
// each image with its reference, media type and digest.
func has(listed string, archive Archive) bool {
	for _, line := range strings.Split(listed, "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == archive.Reference && fields[2] == archive.Digest {
			return true
		}
	}
	return false
}

func ctr(ctx context.Context, f folder.Folder, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, f.Bin("ctr"), append([]string{"--address", f.ContainerdSocket(), "--namespace", "k8s.io"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
