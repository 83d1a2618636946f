package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

// errUnreadable is all that a reader is told of a fault that is not theirs.
var errUnreadable = errors.New("the recording cannot be read at the moment; the operator's log says why")

// handler serves discovery to whoever the API server lets through and logs to those who may read them.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	discovery(mux)
	mux.HandleFunc("GET /apis/"+GroupVersion.String()+"/namespaces/{namespace}/"+Resource+"/{name}/"+Subresource, s.log)
	mux.HandleFunc("GET /apis/"+GroupVersion.String()+"/"+KeysResource, s.keys)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, groupResource, "",
			"only get on "+Resource+"/"+Subresource+" and list on "+KeysResource+" are served here", 0, true))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok, err := s.authenticate.AuthenticateRequest(r)
		if err != nil || !ok {
			refuse(w, apierrors.NewUnauthorized("this API is served through the API server alone"))
			return
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), readerKey{}, answer.User)))
	})
}

// readerKey is where the request's context keeps the reader, a user.Info.
type readerKey struct{}

// log answers with one log: ?format=text (default), jsonl, asciicast, or log, which can be verified offline;
// ?from=N, with format=log, begins at chunk N.
func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	if !s.allowed(w, r, access.Attributes{
		Verb: "get", Group: GroupVersion.Group, Resource: Resource, Subresource: Subresource, Namespace: namespace, Name: name,
	}) {
		return
	}
	format, err := record.ParseFormat(r.URL.Query().Get("format"))
	if err != nil {
		refuse(w, apierrors.NewBadRequest("format: "+err.Error()))
		return
	}
	from, err := firstChunk(r.URL.Query().Get("from"), format)
	if err != nil {
		refuse(w, apierrors.NewBadRequest("from: "+err.Error()))
		return
	}
	entry, err := s.options.Archive.Entry(r.Context(), namespace, name)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		refuse(w, apierrors.NewNotFound(groupResource, name))
		return
	case err != nil:
		s.options.Log.Error(err, "A recording's entry could not be read", "namespace", namespace, "recording", name)
		refuse(w, err)
		return
	case entry.BytesDeleted != nil:
		refuse(w, apierrors.NewGenericServerResponse(http.StatusGone, "get", groupResource, name,
			fmt.Sprintf("its retention ended and its bytes were deleted on %s", entry.BytesDeleted.Format("2006-01-02 15:04 MST")), 0, true))
		return
	}
	w.Header().Set("Content-Type", format.ContentType())
	if err := s.write(r.Context(), w, entry, format, from); err != nil && r.Context().Err() == nil {
		s.options.Log.Error(err, "A recording was not read to its end", "namespace", namespace, "recording", name)
		if format == record.Text {
			_, _ = io.WriteString(w, "\n"+errUnreadable.Error()+"\n")
		}
		panic(http.ErrAbortHandler) // the answer is cut off, so that no reader takes it for whole (net/http)
	}
}

// allowed asks whether the reader may, and answers those who may not.
func (s *Server) allowed(w http.ResponseWriter, r *http.Request, a access.Attributes) bool {
	reader, _ := r.Context().Value(readerKey{}).(user.Info)
	may, why, err := s.may(r.Context(), userInfo(reader), a)
	if err != nil {
		s.options.Log.Error(err, "A reader's rights could not be reviewed", "resource", a.Resource, "namespace", a.Namespace, "name", a.Name)
		refuse(w, err)
		return false
	}
	if !may {
		what, where := a.Resource, ""
		if a.Subresource != "" {
			what += "/" + a.Subresource
		}
		if a.Namespace != "" {
			where = " in namespace " + a.Namespace
		}
		refuse(w, apierrors.NewForbidden(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name, fmt.Errorf(
			"user %q may not %s %s of group %s%s%s", reader.GetName(), a.Verb, what, a.Group, where, why)))
	}
	return may
}

// write streams the log, one chunk in memory at a time.
func (s *Server) write(ctx context.Context, w io.Writer, entry *archive.Entry, format record.Format, from uint64) error {
	// The head first: a log that grows meanwhile has more chunks than are signed, which is no fault, where the
	// other way round would look like chunks that went missing.
	a := s.options.Archive
	head, err := a.Head(ctx, entry.Namespace, entry.PodUID, entry.Log)
	if err != nil && !errors.Is(err, archive.ErrNotFound) {
		return err
	}
	chunks := a.Chunks(ctx, entry.Namespace, entry.PodUID, entry.Log, from)
	if format == record.Archive {
		return record.WriteLog(w, entry.Meta, chunks, head)
	}
	var trusted []record.Key
	if head != nil {
		trusted = a.Trusted(ctx, head)
	}
	_, err = record.Render(w, format, entry.Meta, chunks, func() *record.Head { return head }, trusted...)
	return err
}

// firstChunk reads ?from.
func firstChunk(text string, format record.Format) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	if format != record.Archive {
		return 0, errors.New("only format=log can begin in the middle: the other formats verify from the start")
	}
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, errors.New("not the number of a chunk")
	}
	return number, nil
}

func userInfo(u user.Info) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: map[string]authenticationv1.ExtraValue{}}
	for key, values := range u.GetExtra() {
		info.Extra[key] = values
	}
	return info
}
