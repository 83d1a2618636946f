// Package s3 runs a real S3 server (versitygw, made by `make bin/versitygw`) on the loopback for tests.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ProgramVariable names the environment variable that holds the path of versitygw. Tests that need an S3 server are
// skipped without it; `make test-s3` sets it.
const ProgramVariable = "CHAPERONE_S3_SERVER"

const (
	bucket = "recordings"
	region = "us-east-1"
	access = "chaperone"
	secret = "chaperone-secret"
	// startTimeout is generous for a machine that does much else.
	startTimeout = time.Minute
)

// Server is a server with one bucket, which outlives its stops.
type Server struct {
	program, folder, address string
	running                  *exec.Cmd
}

// New prepares a server that keeps its objects in folder. The AWS SDK of this process is given its credentials.
func New(folder string) (*Server, error) {
	s := &Server{program: os.Getenv(ProgramVariable), folder: folder}
	if s.program == "" {
		return nil, errors.New(ProgramVariable + " names no server")
	}
	for _, dir := range []string{"objects/" + bucket, "metadata"} {
		if err := os.MkdirAll(filepath.Join(folder, dir), 0o700); err != nil {
			return nil, err
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = free.Addr().String()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": region} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return s, free.Close()
}

// URL is the bucket as the operator's --recordings-url names it.
func (s *Server) URL() string {
	query := url.Values{"region": {region}, "endpoint": {"http://" + s.address}, "use_path_style": {"true"}}
	return "s3://" + bucket + "?" + query.Encode()
}

// Start runs the server, and returns once it answers.
func (s *Server) Start(ctx context.Context) error {
	s.running = exec.Command(s.program, "--port", s.address, "--access", access, "--secret", secret, "--region", region,
		"posix", "--sidecar", filepath.Join(s.folder, "metadata"), filepath.Join(s.folder, "objects"))
	output, err := os.OpenFile(filepath.Join(s.folder, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	s.running.Stdout, s.running.Stderr = output, output
	if err := s.running.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/"+bucket, http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			return answer.Body.Close() // that it refuses a request without a signature is an answer
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(output.Name())
			return fmt.Errorf("the S3 server does not answer: %w\n%s", err, said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop kills the server, as a machine that goes away does.
func (s *Server) Stop() {
	if s.running != nil {
		_ = s.running.Process.Kill()
		_ = s.running.Wait()
		s.running = nil
	}
}
