package command

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func (e *environment) recordings() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:     "recordings",
		Aliases: []string{"sessionrecordings", "rec"},
		Short:   "List the recordings of what agents did",
		Long:    "List the recordings of what agents did, the newest first.",
		Example: "  kubectl chaperone recordings -n agents\n  kubectl chaperone recordings -A -o wide",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			namespace := o.of(c.Namespace)
			list, err := c.Recordings(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			slices.SortStableFunc(list.Items, func(a, b v1alpha1.SessionRecording) int {
				return cmp.Or(b.Spec.StartTime.Compare(a.Spec.StartTime.Time), cmp.Compare(a.Name, b.Name))
			})
			if printed, err := o.object(e.Out, list, "SessionRecordingList"); printed || err != nil {
				return err
			}
			if len(list.Items) == 0 {
				return o.nothing(e.ErrOut, "recordings", namespace)
			}
			return o.table(e.Out, e.paint, recordingColumns).print(recordingRows(list.Items, time.Now()))
		},
	}
	o.bindList(cmd)
	return cmd
}

var recordingColumns = []column{
	{name: "NAMESPACE"}, {name: "NAME"}, {name: "PHASE", styled: true}, {name: "POD"}, {name: "TARGET"}, {name: "PROTOCOL", wide: true},
	{name: "CONNECTIONS", wide: true}, {name: "COMMANDS"}, {name: "DENIED"}, {name: "APPROVED"}, {name: "MASKED"},
	{name: "ROWS", wide: true}, {name: "BYTES", wide: true}, {name: "CHUNKS", wide: true}, {name: "LOG", wide: true}, {name: "AGE"},
}

func recordingRows(items []v1alpha1.SessionRecording, now time.Time) (rows [][]string) {
	for i := range items {
		r := &items[i]
		n := &r.Status.Counts
		rows = append(rows, []string{
			r.Namespace, r.Name, cmp.Or(string(r.Status.Phase), string(v1alpha1.RecordingRecording)), r.Spec.Pod.Name, r.Spec.Target,
			r.Spec.Protocol, fmt.Sprint(n.Connections), fmt.Sprint(n.Commands), fmt.Sprint(n.Denied), fmt.Sprint(n.Approved),
			fmt.Sprint(n.Masked), fmt.Sprint(n.Rows), fmt.Sprint(n.Bytes), fmt.Sprint(r.Status.Chunks), r.Spec.Log,
			age(now, r.Spec.StartTime.Time),
		})
	}
	return rows
}
