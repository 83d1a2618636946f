#!/bin/bash
# Starts sshd for one user, who logs in with a key.
#
#   SSH_USER   the user, default deploy; their home is /home/SSH_USER
#   KEYS_DIR   default /keys; holds host_key (a private key) and authorized_keys
#
# Runs as root, as sshd does. Arguments are added to the server's command line ("-o", "MaxStartups=1").
set -euo pipefail

user=${SSH_USER:-deploy}
keys=${KEYS_DIR:-/keys}
own=/run/sshd
mkdir -p "$own" "/home/$user"
grep -q '^sshd:' /etc/passwd || echo 'sshd:x:101:65534::/run/sshd:/usr/sbin/nologin' >>/etc/passwd
grep -q "^$user:" /etc/passwd || echo "$user:x:2000:2000::/home/$user:/bin/bash" >>/etc/passwd
grep -q "^$user:" /etc/group || echo "$user:x:2000:" >>/etc/group
chown 2000:2000 "/home/$user"
# The server takes no key that others can read, and a mounted Secret's owner is not ours.
install -m 0600 "$keys/host_key" "$own/host_key"
install -m 0644 "$keys/authorized_keys" "$own/authorized_keys"

exec /usr/sbin/sshd -D -e -f /dev/null -o "HostKey=$own/host_key" -o "AuthorizedKeysFile=$own/authorized_keys" \
  -o UsePAM=no -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PidFile=none \
  -o PrintLastLog=no -o "Subsystem=sftp internal-sftp" "$@"
