package ssh_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestAChannelDoesNotOvertakeWhatWasAskedBefore(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, forwarding("Local", "Remote")))
	c := s.Client(t)
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := uint32(l.Addr().(*net.TCPAddr).Port)
		l.Close()
		listen := struct {
			Host string
			Port uint32
		}{"127.0.0.1", port}
		// No answer is waited for.
		if _, _, err := c.SendRequest("tcpip-forward", false, ssh.Marshal(listen)); err != nil {
			t.Fatal(err)
		}
		tunnel, requests, err := c.OpenChannel("direct-tcpip", ssh.Marshal(struct {
			Host       string
			Port       uint32
			Originator string
			FromPort   uint32
		}{"127.0.0.1", port, "127.0.0.1", 1}))
		if err != nil {
			t.Fatalf("the server does not listen yet: %v", err)
		}
		go ssh.DiscardRequests(requests)
		tunnel.Close()
		if ok, _, err := c.SendRequest("cancel-tcpip-forward", true, ssh.Marshal(listen)); err != nil || !ok {
			t.Fatalf("%t, %v", ok, err)
		}
	}
}

func TestWhatIsTypedDoesNotOvertakeTheSizeOfATerminal(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowShell))
	session, in, shown := terminal(t, s.Client(t))
	for rows := 30; rows < 50; rows++ {
		if err := session.WindowChange(rows, 132); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(in, "stty size; echo do''ne %d\n", rows); err != nil {
			t.Fatal(err)
		}
		shown.until(t, fmt.Sprintf("done %d", rows))
		if want := fmt.Sprintf("%d 132", rows); !strings.Contains(shown.b.String(), want) {
			t.Fatalf("not %s, but %q", want, shown.b.String())
		}
	}
	if _, err := io.WriteString(in, "exit 3\n"); err != nil {
		t.Fatal(err)
	}
	if err := session.Wait(); !isStatus(err, 3) {
		t.Errorf("got %v", err)
	}
}
