package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// output is how a list is printed, and of which namespaces.
type output struct {
	format        string
	allNamespaces bool
}

func (o *output) bind(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "json, yaml or wide; a table without it")
	cmd.Flags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "of all namespaces")
}

func (o *output) check() error {
	switch o.format {
	case "", "json", "yaml", "wide":
		return nil
	}
	return fmt.Errorf("unknown output %q: json, yaml and wide are known", o.format)
}

// object prints an object as JSON or YAML; false means that a table is wanted.
func (o *output) object(w io.Writer, object runtime.Object, kind string) (bool, error) {
	var printer printers.ResourcePrinter
	switch o.format {
	case "json":
		printer = &printers.JSONPrinter{}
	case "yaml":
		printer = &printers.YAMLPrinter{}
	default:
		return false, nil
	}
	object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return true, (&printers.OmitManagedFieldsPrinter{Delegate: printer}).PrintObj(object, w)
}

// column is one column of a table; wide ones are shown with -o wide.
type column struct {
	name string
	wide bool
}

// table prints rows of cells; what comes from the cluster is escaped. The first cell is the namespace.
func (o *output) table(w io.Writer, columns []column, rows [][]string) error {
	tabs := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	line := func(cells []string) error {
		var shown []string
		for i, c := range columns {
			if c.wide && o.format != "wide" || i == 0 && !o.allNamespaces {
				continue
			}
			shown = append(shown, record.Printable(cells[i]))
		}
		_, err := fmt.Fprintln(tabs, strings.Join(shown, "\t"))
		return err
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	if err := line(names); err != nil {
		return err
	}
	for _, row := range rows {
		if err := line(row); err != nil {
			return err
		}
	}
	return tabs.Flush()
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
