package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// output is how objects are printed, and of which namespaces.
type output struct {
	format        string
	allNamespaces bool
	formats       []string
}

// bind adds -o with these formats beside the one that is for people.
func (o *output) bind(cmd *cobra.Command, formats ...string) {
	o.formats = formats
	cmd.Flags().StringVarP(&o.format, "output", "o", "", listing(formats, "or")+"; a text for people without it")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// bindList adds -o for a list, and -A.
func (o *output) bindList(cmd *cobra.Command) {
	o.bind(cmd, "json", "yaml", "wide", "name")
	cmd.Flags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "of all namespaces")
}

func (o *output) check() error {
	if o.format == "" || slices.Contains(o.formats, o.format) {
		return nil
	}
	return fmt.Errorf("unknown output %q: %s are known", o.format, listing(o.formats, "and"))
}

// of is the namespace to list; none means all.
func (o *output) of(namespace string) string {
	if o.allNamespaces {
		return ""
	}
	return namespace
}

// documents says that programs read the output.
func (o *output) documents() bool {
	return o.format == "json" || o.format == "yaml" || o.format == "name"
}

// object prints an object, or a list of objects of one kind, as JSON, as YAML or by name; false means that a text for
// people is wanted.
func (o *output) object(w io.Writer, object runtime.Object, kind string) (bool, error) {
	if !o.documents() {
		return false, nil
	}
	object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if err := meta.EachListItem(object, func(item runtime.Object) error {
		item.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(strings.TrimSuffix(kind, "List")))
		return nil
	}); err != nil && meta.IsListType(object) {
		return true, err
	}
	var text bytes.Buffer
	if o.format == "name" {
		names := &printers.NamePrinter{}
		if !meta.IsListType(object) {
			return true, names.PrintObj(object, w)
		}
		return true, meta.EachListItem(object, func(item runtime.Object) error { return names.PrintObj(item, w) })
	}
	if err := (&printers.OmitManagedFieldsPrinter{Delegate: &printers.JSONPrinter{}}).PrintObj(object, &text); err != nil {
		return true, err
	}
	return true, o.document(w, text.Bytes())
}

// value prints what is no object of the cluster as JSON or as YAML.
func (o *output) value(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return fmt.Errorf("encoding what was found: %w", err)
	}
	return o.document(w, append(text, '\n'))
}

// table makes a table of which the first column is the namespace.
func (o *output) table(w io.Writer, paint painter, columns []column) *table {
	return newTable(w, paint, columns, func(i int, c column) bool {
		return (!c.wide || o.format == "wide") && (i > 0 || o.allNamespaces)
	})
}

// nothing says that a list is empty, as kubectl does.
func (o *output) nothing(w io.Writer, what, namespace string) error {
	where := " in namespace " + namespace
	if o.allNamespaces {
		where = ""
	}
	_, err := fmt.Fprintf(w, "No %s found%s.\n", what, where)
	return err
}

// listing is "a, b and c".
func listing(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// age is how long ago something was, as kubectl shows it.
func age(now, then time.Time) string {
	if then.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(then))
}

// shorten cuts a text for a table's cell.
func shorten(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}
