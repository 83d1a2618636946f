package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestMarkersAreSeen holds markers about the whole installation outside doc comments: controller-gen passes over
// those inside, and what is missing is noticed as a forbidden request in somebody's cluster.
func TestMarkersAreSeen(t *testing.T) {
	found := 0
	for _, dir := range []string{"controllers", "webhook", "cmd/operator"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			found += len(markers(file.Comments...))
			for _, marker := range markers(docs(file)...) {
				t.Errorf("%s: in a doc comment, where controller-gen does not see it; put a blank line after\n%s", path, marker)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no marker found")
	}
}

// docs are the doc comments of a file's declarations.
func docs(file *ast.File) []*ast.CommentGroup {
	var all []*ast.CommentGroup
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			all = append(all, d.Doc)
		case *ast.GenDecl:
			all = append(all, d.Doc)
		}
	}
	return all
}

func markers(groups ...*ast.CommentGroup) []string {
	var found []string
	for _, group := range groups {
		if group == nil {
			continue
		}
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, "// +kubebuilder:rbac:") || strings.HasPrefix(comment.Text, "// +kubebuilder:webhook") {
				found = append(found, comment.Text)
			}
		}
	}
	return found
}
