package sshserver

import (
	"fmt"
	"os"
	"path/filepath"
)

// Users of the server: both have a home and log in with Server.UserKey, the password or a certificate of
// Server.Authority that names them.
const (
	User      = "deploy"
	OtherUser = "backup"
	Password  = "upstream-secret"
)

// uids are outside what Debian gives to people and to packages.
const (
	userUID  = 29001
	otherUID = 29002
	// passwordHash is Password in the form of crypt(5), SHA-512.
	passwordHash = "$6$chaperone$1NSlyhuN6Rldvp013VqFVBtyCDw3hRSTaBxCBg8P1fzgqDyk5VEXy7jTnmu8yBNYXO/honzHJlsSFW7mT9U5i0"
)

// writeUsers writes passwd, group and shadow for the server alone, and makes the homes.
func (s *Server) writeUsers() error {
	users := map[string]int{User: userUID, OtherUser: otherUID}
	passwd := "root:x:0:0:root:/root:/bin/bash\nsshd:x:29000:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	group := "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"
	shadow := "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"
	for name, uid := range users {
		home := s.HomeOf(name)
		passwd += fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/bash\n", name, uid, uid, name, home)
		group += fmt.Sprintf("%s:x:%d:\n", name, uid)
		shadow += fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", name, passwordHash)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if err := os.Chown(home, uid, uid); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group, "shadow": shadow} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(s.dir, "shadow"), 0o600)
}

// HomeOf is a user's home folder.
func (s *Server) HomeOf(user string) string { return filepath.Join(s.dir, "home", user) }
