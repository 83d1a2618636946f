// Command generate writes the chart's copies of what config/ already says: definitions, RBAC, services, webhooks
// and admission policies come from the same files, so that Helm and kustomize install the same objects.
//
// It is run from the top of the repository by `make generate`, after controller-gen.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run replaces the generated templates of the chart under root.
func run(root string) error {
	out := filepath.Join(root, generatedDir)
	if err := os.RemoveAll(out); err != nil {
		return fmt.Errorf("clearing %s: %w", out, err)
	}
	for _, source := range sources {
		paths, err := source.files(root)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := convert(path, filepath.Join(out, source.to, filepath.Base(path)), source.chart); err != nil {
				return err
			}
		}
	}
	return nil
}

// convert renders one manifest of config/ as a template of the chart.
func convert(from, to string, c chart) error {
	manifest, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("reading manifest: %w", err)
	}
	template, err := c.render(manifest)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("making the chart's folder: %w", err)
	}
	return os.WriteFile(to, template, 0o644)
}
