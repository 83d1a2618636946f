package ssh

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// Where a link leads is told unless a rule refuses it (docs/policies.md), so that cases which only ask for that are tried
// under "deny" alone.

// fileAttack is one case over sftp.
type fileAttack struct {
	do func(f *fileSession)
	// harmless says why it does no harm past the sidecar; empty where it does.
	harmless string
	// passes says why nothing need be refused.
	passes string
	// under names the one policy that it is tried under; empty for both.
	under string
}

// TestFiles runs every case of the tables past the sidecar and through it. The harm is a changed vault, or anything of it
// in what the adversary received.
func TestFiles(t *testing.T) {
	needServer(t)
	past := direct(t)
	type adversary struct {
		sidecar *sshsidecar.Sidecar
		client  *ssh.Client
	}
	adversaries := make(map[string]adversary)
	for name, p := range filePolicies() {
		s := sshsidecar.Start(t, server, p)
		adversaries[name] = adversary{s, s.Client(t)}
	}
	count := 0
	for family, attacks := range map[string]map[string]fileAttack{
		"by a path": pathAttacks, "by a link": linkAttacks, "by another name": nameAttacks, "by a handle": handleAttacks,
		"by an open": openAttacks, "by an attribute": attributeAttacks, "by an extension": extensionAttacks,
		"by a packet": packetAttacks, "by a list": listAttacks,
	} {
		count += len(attacks)
		t.Run(family, func(t *testing.T) {
			for name, a := range attacks {
				t.Run(name, func(t *testing.T) {
					furnishFiles(t)
					before := kept()
					f := sftpSession(t, past)
					a.do(f)
					harmed := kept() != before || f.tells() != ""
					if (a.harmless == "") != harmed {
						t.Errorf("past the sidecar: harm %v (%s), against what the case says", harmed, f.tells())
					}
					f.s.Close()
					for policy, through := range adversaries {
						if a.under == "" || a.under == policy {
							tryFiles(t, policy, through.sidecar, through.client, a)
						}
					}
				})
			}
		})
	}
	if count < 100 {
		t.Errorf("there are %d cases; whoever takes one away has to say why", count)
	}
	for name, a := range adversaries {
		furnishFiles(t)
		if f := sftpSession(t, a.client); !f.works() {
			t.Errorf("under %s the connection is of no use any more", name)
		}
	}
}

func tryFiles(t *testing.T, under string, s *sshsidecar.Sidecar, c *ssh.Client, a fileAttack) {
	t.Helper()
	furnishFiles(t)
	before := kept()
	recorded := commands(s)
	f := sftpSession(t, c)
	a.do(f)
	if after := kept(); after != before {
		t.Errorf("under %s it changed\n%sinto\n%s", under, before, after)
	}
	if tell := f.tells(); tell != "" {
		t.Errorf("under %s it received %q", under, tell)
	}
	f.mu.Lock()
	refusals, ended := f.refusals, f.ended
	f.mu.Unlock()
	if a.passes == "" && refusals == 0 && !ended {
		t.Errorf("under %s nothing was refused", under)
	}
	if now := commands(s); now == recorded && a.passes == "" && !ended {
		t.Errorf("under %s nothing was recorded", under)
	}
	if !ended && !f.works() {
		t.Errorf("under %s the session is of no use any more: %s", under, f.told.String())
	}
	f.s.Close()
}

// commands counts what was recorded so far.
func commands(s *sshsidecar.Sidecar) int { return len(s.Log.FindWithin(0, record.KindCommand, nil)) }

// works reports whether the session still serves what is allowed.
func (f *fileSession) works() bool {
	f.t.Helper()
	f.fetch(at("shown/page"))
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(f.received.String(), "published")
}

// pathAttacks write the vault's path differently.
var pathAttacks = map[string]fileAttack{
	"as it is":             {do: func(f *fileSession) { f.fetch(at("vault/shut/secret")) }},
	"relative to the home": {do: func(f *fileSession) { f.fetch("vault/shut/secret") }},
	"with dots between":    {do: func(f *fileSession) { f.fetch("./vault/././shut/./secret") }},
	"with slashes doubled": {do: func(f *fileSession) { f.fetch("/" + strings.ReplaceAll(at("vault/shut/secret"), "/", "///")) }},
	"through a folder that is allowed, and back":   {do: func(f *fileSession) { f.fetch(at("work/") + "/../vault/shut/secret") }},
	"through a deeper one, and back":               {do: func(f *fileSession) { f.fetch("work/dir/../../vault/shut/secret") }},
	"through the root's parent":                    {do: func(f *fileSession) { f.fetch("/../.." + at("vault/shut/secret")) }},
	"through a folder that was made, and back":     {do: func(f *fileSession) { f.ask(fxpMkdir, "work/**", none); f.fetch("work/**/../../vault/shut/secret") }},
	"through a file, and back":                     {do: func(f *fileSession) { f.fetch("work/a/../../vault/shut/secret") }, harmless: "a file is no folder"},
	"through nothing, and back":                    {do: func(f *fileSession) { f.fetch("work/none/../../vault/shut/secret") }, harmless: "nothing is no folder"},
	"with a slash behind a file":                   {do: func(f *fileSession) { f.fetch("vault/shut/secret/") }, harmless: "a file is no folder"},
	"in capital letters":                           {do: func(f *fileSession) { f.fetch("VAULT/SHUT/SECRET") }, harmless: "the file system tells them apart"},
	"with a NUL behind":                            {do: func(f *fileSession) { f.fetch("vault/shut/secret\x00.txt") }, harmless: "the server takes no NUL"},
	"with a NUL at the end":                        {do: func(f *fileSession) { f.fetch("vault/shut/secret\x00") }},
	"with what is allowed behind a NUL":            {do: func(f *fileSession) { f.fetch("vault/shut/secret\x00" + at("work/a")) }, harmless: "the server takes no NUL"},
	"by the process's folder":                      {do: func(f *fileSession) { f.fetch("/proc/self/cwd/vault/shut/secret") }},
	"by the process's root":                        {do: func(f *fileSession) { f.fetch("/proc/self/root" + at("vault/shut/secret")) }},
	"by another process's root":                    {do: func(f *fileSession) { f.fetch("/proc/1/root" + at("vault/shut/secret")) }, harmless: "it is root's"},
	"by the number of an open file":                {do: func(f *fileSession) { f.open("vault/shut/secret", forRead); f.fetch("/proc/self/fd/3") }},
	"by a path of forty-one thousand characters":   {do: func(f *fileSession) { f.fetch(strings.Repeat("work/../", 5200) + "vault/shut/secret") }, harmless: "longer than paths may be"},
	"by a path that is as long as one may be":      {do: func(f *fileSession) { f.fetch(strings.Repeat("work/../", 500) + "vault/shut/secret") }},
	"by an empty path":                             {do: func(f *fileSession) { f.fetch("") }, harmless: "it is no file"},
	"written":                                      {do: func(f *fileSession) { f.put("work/../vault/shut/secret", forWrite) }},
	"appended to":                                  {do: func(f *fileSession) { f.put("work/../vault/shut/secret", forWrite|forAppend) }},
	"made":                                         {do: func(f *fileSession) { f.put("work/../vault/shut/new", forWrite|forCreate) }},
	"a folder made":                                {do: func(f *fileSession) { f.ask(fxpMkdir, "work/../vault/shut/new", none) }},
	"a folder removed":                             {do: func(f *fileSession) { f.ask(fxpRmdir, "work/../vault/shut/empty") }},
	"removed":                                      {do: func(f *fileSession) { f.ask(fxpRemove, "work/../vault/shut/secret") }},
	"asked for its attributes":                     {do: func(f *fileSession) { f.ask(fxpStat, "work/../vault/shut/secret") }},
	"asked for its own attributes":                 {do: func(f *fileSession) { f.ask(fxpLstat, "work/../vault/shut/secret") }},
	"asked where a link of it leads":               {do: func(f *fileSession) { f.ask(fxpReadlink, "work/../vault/shut/out") }},
	"asked what a link of it leads to":             {do: func(f *fileSession) { f.ask(fxpRealpath, "work/../vault/shut/out") }, under: "deny"},
	"made in what may only be looked at":           {do: func(f *fileSession) { f.put("shown/new", forWrite|forCreate) }},
	"written in what may only be looked at":        {do: func(f *fileSession) { f.put("shown/page", forWrite) }},
	"removed from what may only be looked at":      {do: func(f *fileSession) { f.ask(fxpRemove, "shown/page") }},
	"a folder made in what may only be looked at":  {do: func(f *fileSession) { f.ask(fxpMkdir, "shown/new", none) }},
	"a link made in what may only be looked at":    {do: func(f *fileSession) { f.ask(fxpSymlink, "page", at("shown/new")) }},
	"renamed into what may only be looked at":      {do: func(f *fileSession) { f.ask(fxpRename, "work/a", "shown/new") }},
	"renamed within what may only be looked at":    {do: func(f *fileSession) { f.ask(fxpRename, "shown/page", "shown/new") }},
	"linked hard into what may only be looked at":  {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "work/a", "shown/new") }},
	"copied into what may only be looked at":       {do: func(f *fileSession) { f.copy("work/a", "shown/page") }},
	"what may be looked at, renamed out of there":  {do: func(f *fileSession) { f.ask(fxpRename, "shown/page", "work/page") }},
	"what may be looked at, linked hard elsewhere": {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "shown/page", "work/page") }},
}

// copy copies on the server, whatever the opens' answers were.
func (f *fileSession) copy(from, to string) {
	f.t.Helper()
	in, out := f.open(from, forRead), f.open(to, forWrite|forCreate)
	if in == "" {
		in = "\x00\x00\x00\x00"
	}
	if out == "" {
		out = "\x00\x00\x00\x01"
	}
	f.extend("copy-data", in, 0, 0, out, 0)
	f.ask(fxpClose, in)
	f.ask(fxpClose, out)
}

// linkAttacks go through symbolic links: those that are there, and those that the adversary makes.
var linkAttacks = map[string]fileAttack{
	"that is there":                               {do: func(f *fileSession) { f.fetch("work/link") }},
	"that is there, with the whole path":          {do: func(f *fileSession) { f.fetch("work/absolute") }},
	"to a link":                                   {do: func(f *fileSession) { f.fetch("work/chain") }},
	"to the folder":                               {do: func(f *fileSession) { f.fetch("work/folder/secret") }},
	"to the folder, and there and back":           {do: func(f *fileSession) { f.fetch("work/folder/" + vaultName + "/../secret") }},
	"to the folder, and to its parent":            {do: func(f *fileSession) { f.fetch("work/folder/../shut/secret") }},
	"to a folder above":                           {do: func(f *fileSession) { f.fetch("work/up/vault/shut/secret") }},
	"to itself":                                   {do: func(f *fileSession) { f.fetch("work/loop") }, harmless: "it leads nowhere"},
	"to the folder, listed":                       {do: func(f *fileSession) { f.list("work/folder") }},
	"to the folder, listed with a slash":          {do: func(f *fileSession) { f.list("work/folder/") }},
	"to the folder, listed with a dot":            {do: func(f *fileSession) { f.list("work/folder/.") }},
	"asked for its attributes":                    {do: func(f *fileSession) { f.ask(fxpStat, "work/link") }},
	"asked for its attributes, the folder's link": {do: func(f *fileSession) { f.ask(fxpLstat, "work/folder/secret") }},
	"whose folder is asked where a link leads":    {do: func(f *fileSession) { f.ask(fxpReadlink, "work/folder/out") }},
	"written through":                             {do: func(f *fileSession) { f.put("work/link", forWrite) }},
	"made through, where it leads to nothing":     {do: func(f *fileSession) { f.put("work/tonew", forWrite|forCreate) }},
	"made exclusively where a link is": {do: func(f *fileSession) { f.put("work/tonew", forWrite|forCreate|forExclusive) },
		harmless: "an exclusive open follows no link"},
	"removed through":               {do: func(f *fileSession) { f.ask(fxpRemove, "work/folder/secret") }},
	"a folder made through":         {do: func(f *fileSession) { f.ask(fxpMkdir, "work/folder/new", none) }},
	"a folder removed through":      {do: func(f *fileSession) { f.ask(fxpRmdir, "work/folder/empty") }},
	"renamed through":               {do: func(f *fileSession) { f.ask(fxpRename, "work/folder/secret", "work/mine") }},
	"renamed through, over":         {do: func(f *fileSession) { f.extend("posix-rename@openssh.com", "work/a", "work/folder/secret") }},
	"linked hard through":           {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "work/folder/secret", "work/mine") }},
	"a link made through":           {do: func(f *fileSession) { f.ask(fxpSymlink, "secret", "work/folder/new") }},
	"of its own":                    {do: func(f *fileSession) { f.ask(fxpSymlink, at("vault/shut/secret"), "work/mine"); f.fetch("work/mine") }},
	"of its own, relative":          {do: func(f *fileSession) { f.ask(fxpSymlink, "../vault/shut/secret", "work/mine"); f.fetch("work/mine") }},
	"of its own, to the folder":     {do: func(f *fileSession) { f.ask(fxpSymlink, "../vault/shut", "work/mine"); f.list("work/mine") }},
	"of its own, to a folder above": {do: func(f *fileSession) { f.ask(fxpSymlink, "../vault", "work/mine"); f.fetch("work/mine/shut/secret") }},
	"of its own, to the root": {do: func(f *fileSession) {
		f.ask(fxpSymlink, "/", "work/mine")
		f.fetch("work/mine" + at("vault/shut/secret"))
	}},
	"of its own, to a link": {do: func(f *fileSession) { f.ask(fxpSymlink, "folder", "work/mine"); f.fetch("work/mine/secret") }},
	"of its own, to its parent by dots": {do: func(f *fileSession) {
		f.ask(fxpSymlink, "dir/../../vault/shut/secret", "work/mine")
		f.fetch("work/mine")
	}},
	"of its own, to what comes later": {do: func(f *fileSession) {
		f.ask(fxpSymlink, "../vault/shut/new", "work/mine")
		f.put("work/mine", forWrite|forCreate)
	}},
	"of its own, with its arguments in the draft's order": {do: func(f *fileSession) {
		f.ask(fxpSymlink, "work/mine", at("vault/shut/secret"))
		f.fetch("work/mine")
	}, harmless: "OpenSSH's server has the other order"},
	"of its own in the vault": {do: func(f *fileSession) { f.ask(fxpSymlink, at("work/a"), at("vault/shut/new")) }},
	"that means something else once it is moved": {do: func(f *fileSession) {
		f.ask(fxpMkdir, "work/dir/deep", none)
		f.ask(fxpSymlink, "../../vault/shut/secret", "work/dir/deep/mine") // work/vault/shut/secret: nothing
		f.ask(fxpRename, "work/dir/deep/mine", "work/dir/mine")
		f.fetch("work/dir/mine")
	}},
	"that means something else once its folder is moved": {do: func(f *fileSession) {
		f.ask(fxpMkdir, "work/dir/deep", none)
		f.ask(fxpSymlink, "../../vault/shut", "work/dir/deep/mine")
		f.ask(fxpRename, "work/dir/deep", "work/deep")
		f.fetch("work/deep/mine/secret")
	}},
	"that means something else by its other name": {do: func(f *fileSession) {
		f.ask(fxpMkdir, "work/dir/deep", none)
		f.ask(fxpSymlink, "../../vault/shut/secret", "work/dir/deep/mine")
		f.extend("hardlink@openssh.com", "work/dir/deep/mine", "work/dir/mine")
		f.fetch("work/dir/mine")
	}},
	"that takes a folder's place": {do: func(f *fileSession) {
		f.ask(fxpRename, "work/dir", "work/old")
		f.ask(fxpRename, "work/folder", "work/dir")
		f.fetch("work/dir/secret")
	}},
	"that takes a file's place, at once": {do: func(f *fileSession) {
		f.extend("posix-rename@openssh.com", "work/link", "work/a")
		f.fetch("work/a")
	}},
	"that takes a folder's place between an open and its use": {do: func(f *fileSession) {
		h := f.open("work/dir/secret", forRead|forWrite)
		f.ask(fxpRename, "work/dir", "work/old")
		f.ask(fxpRename, "work/folder", "work/dir")
		f.ask(fxpRead, h, 0, uint32(1024))
		f.ask(fxpWrite, h, 0, "overwritten")
		f.ask(fxpFsetstat, h, attrSize, 0)
		f.ask(fxpFstat, h)
	}, harmless: "what is open stays what it was", passes: "only work is worked on"},
	"that takes a folder's place between its opening and its listing": {do: func(f *fileSession) {
		h := f.ask(fxpOpendir, "work/dir").handle()
		f.ask(fxpRename, "work/dir", "work/old")
		f.ask(fxpRename, "work/folder", "work/dir")
		f.ask(fxpReaddir, h) // the server looks at each name by the path that it opened
	}},
	"that takes a folder's place for the time of its listing": {do: func(f *fileSession) {
		h := f.ask(fxpOpendir, "work/dir").handle()
		var p []byte
		for i, fields := range [][]any{
			{byte(fxpRename), "work/dir", "work/old"}, {byte(fxpRename), "work/folder", "work/dir"}, {byte(fxpReaddir), h},
			{byte(fxpRename), "work/dir", "work/folder"}, {byte(fxpRename), "work/old", "work/dir"},
		} {
			p = append(p, pack(fields[0].(byte), uint32(100+i), fields[1:]...)...)
		}
		f.write(p)
		f.answer(102)
		f.answer(104)
	}, passes: "the names may be asked for before the folder is moved"},
	"that takes a folder's place, all in one packet": {do: func(f *fileSession) {
		var p []byte
		for i, fields := range [][]any{{byte(fxpRename), "work/dir", "work/old"}, {byte(fxpRename), "work/folder", "work/dir"}, {byte(fxpOpen), "work/dir/secret", forRead, none}} {
			p = append(p, pack(fields[0].(byte), uint32(100+i), fields[1:]...)...)
		}
		f.write(append(p, pack(fxpRead, 103, "\x00\x00\x00\x00", 0, uint32(1024))...))
		f.answer(103)
	}},
}

// nameAttacks give what is in the vault another name, or something else a name in it.
var nameAttacks = map[string]fileAttack{
	"renamed out": {do: func(f *fileSession) { f.ask(fxpRename, "vault/shut/secret", "work/mine"); f.fetch("work/mine") }},
	"renamed out, as POSIX does": {do: func(f *fileSession) {
		f.extend("posix-rename@openssh.com", "vault/shut/secret", "work/a")
		f.fetch("work/a")
	}},
	"renamed within":                 {do: func(f *fileSession) { f.ask(fxpRename, "vault/shut/secret", "vault/shut/other") }},
	"renamed over":                   {do: func(f *fileSession) { f.extend("posix-rename@openssh.com", "work/a", "vault/shut/secret") }},
	"renamed into":                   {do: func(f *fileSession) { f.ask(fxpRename, "work/a", "vault/shut/new") }},
	"renamed into, from a folder":    {do: func(f *fileSession) { f.ask(fxpRename, "work/dir", "vault/shut/new") }},
	"its folder renamed":             {do: func(f *fileSession) { f.ask(fxpRename, "vault/shut", "work/mine"); f.fetch("work/mine/secret") }},
	"its folder renamed, by a slash": {do: func(f *fileSession) { f.ask(fxpRename, "vault/shut/", "work/mine"); f.fetch("work/mine/secret") }},
	"its folder renamed, by a dot":   {do: func(f *fileSession) { f.ask(fxpRename, "vault/./shut", "work/mine"); f.fetch("work/mine/secret") }},
	"the folder above it renamed":    {do: func(f *fileSession) { f.ask(fxpRename, "vault", "work/mine"); f.fetch("work/mine/shut/secret") }},
	"the folder above it renamed, as POSIX does": {do: func(f *fileSession) {
		f.extend("posix-rename@openssh.com", "vault", "work/mine")
		f.fetch("work/mine/shut/secret")
	}},
	"the folder above it renamed, through a link": {do: func(f *fileSession) {
		f.ask(fxpRename, "work/up/vault", "work/mine")
		f.fetch("work/mine/shut/secret")
	}},
	"the folder above it renamed, by where a link leads and back": {do: func(f *fileSession) {
		f.ask(fxpRename, "work/folder/..", "work/mine")
		f.fetch("work/mine/shut/secret")
	}, harmless: "what is named by dots cannot be renamed"},
	"linked hard":                        {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "vault/shut/secret", "work/mine") }},
	"linked hard, by dots":               {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "work/../vault/shut/secret", "work/mine") }},
	"linked hard, a link of it":          {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "vault/shut/out", "work/mine") }},
	"linked hard into":                   {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "work/a", "vault/shut/new") }},
	"copied":                             {do: func(f *fileSession) { f.copy("vault/shut/secret", "work/mine"); f.fetch("work/mine") }},
	"copied, through a link":             {do: func(f *fileSession) { f.copy("work/link", "work/mine"); f.fetch("work/mine") }},
	"copied over":                        {do: func(f *fileSession) { f.copy("work/a", "vault/shut/secret") }},
	"copied over, through a link":        {do: func(f *fileSession) { f.copy("work/a", "work/link") }},
	"renamed to nothing":                 {do: func(f *fileSession) { f.ask(fxpRename, "vault/shut/secret", "") }, harmless: "nothing has that name"},
	"renamed onto itself by two names":   {do: func(f *fileSession) { f.ask(fxpRename, "work/a", "work/dir/../a") }, harmless: "it stays", passes: "only work is worked on"},
	"exchanged by three renames":         {do: func(f *fileSession) { f.exchange() }},
	"exchanged while it is open to read": {do: func(f *fileSession) { h := f.open("work/a", forRead); f.exchange(); f.ask(fxpRead, h, 0, uint32(10)) }},
}

func (f *fileSession) exchange() {
	f.ask(fxpRename, "work/a", "work/tmp")
	f.ask(fxpRename, "vault/shut/secret", "work/a")
	f.ask(fxpRename, "work/tmp", "vault/shut/secret")
	f.fetch("work/a")
}
