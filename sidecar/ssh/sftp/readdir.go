package sftp

import (
	"context"
	"errors"
)

// readdir hands on the next names of an open folder. The server looks at each of them by the folder's path, not by what is
// open (OpenSSH's sftp-server, process_readdir): where a link has taken the folder's place the attributes would be those of
// other files. So it looks behind each answer where the path leads by then.
func (s *session) readdir(ctx context.Context, r *request) error {
	h, err := s.opened(r)
	if err != nil {
		return err
	}
	if !r.f.done() {
		return errMalformed
	}
	if !h.folder {
		return &refusal{statusFailure, "it is no folder"}
	}
	if refused := h.denied(); refused != nil {
		return refused
	}
	asked, err := s.relay.begin(ctx, r.frame)
	if err != nil {
		return err
	}
	stays, err := s.stays(ctx, h.path)
	if err != nil {
		return err
	}
	answer, err := s.relay.wait(ctx, asked)
	if err != nil {
		return err
	}
	switch frameType(answer) {
	case typeStatus: // which names nothing
	case typeName:
		if err := stays("with its names"); err != nil {
			return err
		}
	default:
		return errors.New("the server's sftp: an answer to a listing that is none")
	}
	setFrameID(answer, r.id)
	if err := s.answer(answer); err != nil {
		return err
	}
	return s.flush()
}
