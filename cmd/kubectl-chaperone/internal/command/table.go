package command

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// column is one column of a table; wide ones are shown with -o wide.
type column struct {
	name string
	wide bool
	// styled columns hold one of the words of phaseStyles.
	styled bool
}

// gap is the space between columns.
const gap = 3

// table prints rows under column names. What comes from the cluster is escaped. Rows may come later, too, for as
// long as somebody watches: the columns keep the widths of the first ones.
type table struct {
	w       io.Writer
	columns []column
	shown   []int // indices of the columns that are printed
	paint   painter
	widths  []int
}

func newTable(w io.Writer, paint painter, columns []column, show func(i int, c column) bool) *table {
	t := &table{w: w, columns: columns, paint: paint}
	for i, c := range columns {
		if show(i, c) {
			t.shown = append(t.shown, i)
		}
	}
	return t
}

// print prints the column names and the first rows.
func (t *table) print(rows [][]string) error {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	t.widths = make([]int, len(t.columns))
	for _, row := range append([][]string{names}, rows...) {
		for _, i := range t.shown {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(record.Printable(row[i])))
		}
	}
	if err := t.line(names, func(int) style { return bold }); err != nil {
		return err
	}
	return t.add(rows)
}

// add prints further rows.
func (t *table) add(rows [][]string) error {
	for _, row := range rows {
		err := t.line(row, func(i int) style {
			if t.columns[i].styled {
				return phaseStyles[row[i]]
			}
			return plain
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *table) line(cells []string, of func(int) style) error {
	var b strings.Builder
	for n, i := range t.shown {
		text := record.Printable(cells[i])
		b.WriteString(t.paint.paint(of(i), text))
		if n < len(t.shown)-1 {
			b.WriteString(strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(text))+gap))
		}
	}
	_, err := io.WriteString(t.w, strings.TrimRight(b.String(), " ")+"\n")
	return err
}
