package ssh

import (
	"strings"
)

const first = "\x00\x00\x00\x00" // the handle that OpenSSH's server gives first

// handleAttacks use open files that are none of the session's, or for what they were not opened.
var handleAttacks = map[string]fileAttack{
	"guessed behind a refusal": {do: func(f *fileSession) { f.open("vault/shut/secret", forRead); f.ask(fxpRead, first, 0, uint32(100)) }},
	"guessed before the answer": {do: func(f *fileSession) {
		f.send(fxpOpen, "vault/shut/secret", forRead, none)
		f.ask(fxpRead, first, 0, uint32(100))
	}},
	"guessed in the same packet": {do: func(f *fileSession) {
		f.write(append(pack(fxpOpen, 100, "vault/shut/secret", forRead, none), pack(fxpRead, 101, first, 0, uint32(100))...))
		f.answer(101)
	}},
	"guessed to write": {do: func(f *fileSession) {
		f.send(fxpOpen, "vault/shut/secret", forWrite, none)
		f.ask(fxpWrite, first, 0, "overwritten")
	}},
	"guessed to cut": {do: func(f *fileSession) {
		f.send(fxpOpen, "vault/shut/secret", forWrite, none)
		f.ask(fxpFsetstat, first, attrSize, 0)
	}},
	"guessed to ask":  {do: func(f *fileSession) { f.send(fxpOpen, "vault/shut/secret", forRead, none); f.ask(fxpFstat, first) }},
	"guessed to list": {do: func(f *fileSession) { f.send(fxpOpendir, "vault/shut"); f.ask(fxpReaddir, first) }},
	"guessed to copy": {do: func(f *fileSession) {
		f.send(fxpOpen, "vault/shut/secret", forRead, none)
		f.send(fxpOpen, "work/mine", forWrite|forCreate, none)
		f.extend("copy-data", first, 0, 0, "\x00\x00\x00\x01", 0)
		f.fetch("work/mine")
	}},
	"that was closed, and is another's by now": {do: func(f *fileSession) {
		f.ask(fxpClose, f.open("work/a", forRead))
		f.open("vault/shut/secret", forRead)
		f.ask(fxpRead, first, 0, uint32(100))
	}},
	"that is being closed, and another's right behind": {do: func(f *fileSession) {
		h := f.open("work/a", forRead)
		f.write(append(append(pack(fxpClose, 100, h), pack(fxpOpen, 101, "vault/shut/secret", forRead, none)...), pack(fxpRead, 102, h, 0, uint32(100))...))
		f.answer(102)
	}},
	"that was closed": {do: func(f *fileSession) {
		h := f.open("work/a", forRead|forWrite)
		f.ask(fxpClose, h)
		f.ask(fxpWrite, h, 0, "overwritten")
		f.ask(fxpClose, h)
	}, harmless: "the server has forgotten it"},
	"of another channel": {do: func(f *fileSession) {
		other := sftpSession(f.t, f.c)
		other.open("shown/page", forRead)
		f.ask(fxpRead, first, 0, uint32(100))
		f.ask(fxpWrite, first, 0, "overwritten")
	}, harmless: "each channel has a server of its own"},
	"of 256 bytes":      {do: func(f *fileSession) { f.ask(fxpRead, strings.Repeat("h", 256), 0, uint32(100)) }, harmless: "nothing has it"},
	"of 300 bytes":      {do: func(f *fileSession) { f.ask(fxpRead, strings.Repeat("h", 300), 0, uint32(100)) }, harmless: "nothing has it"},
	"of no bytes":       {do: func(f *fileSession) { f.ask(fxpRead, "", 0, uint32(100)) }, harmless: "nothing has it"},
	"that is negative":  {do: func(f *fileSession) { f.ask(fxpRead, "\xff\xff\xff\xff", 0, uint32(100)) }, harmless: "nothing has it"},
	"to read, written":  {do: func(f *fileSession) { f.ask(fxpWrite, f.open("shown/page", forRead), 0, "x") }, harmless: "the server minds it"},
	"to read, cut":      {do: func(f *fileSession) { f.ask(fxpFsetstat, f.open("shown/page", forRead), attrSize, 0) }, harmless: "the server minds it"},
	"to read, its mode": {do: func(f *fileSession) { f.ask(fxpFsetstat, f.open("shown/page", forRead), attrMode, uint32(0o777)) }},
	"to read, its times": {do: func(f *fileSession) {
		f.ask(fxpFsetstat, f.open("shown/page", forRead), attrTime, uint32(1), uint32(1))
	}},
	"to list, its mode": {do: func(f *fileSession) { f.ask(fxpFsetstat, f.ask(fxpOpendir, "shown").handle(), attrMode, uint32(0o777)) }, harmless: "the server takes no folder for it"},
	"to read, copied to": {do: func(f *fileSession) {
		to := f.open("shown/page", forRead)
		f.extend("copy-data", f.open("work/a", forRead), 0, 0, to, 0)
	}, harmless: "the server minds it"},
	"more of them than anybody has": {do: func(f *fileSession) {
		for range 200 {
			f.open("work/a", forRead)
		}
		f.ask(fxpClose, first)
	}, harmless: "they are the agent's own"},
}

// openAttacks ask for more by an open's flags than by its words.
var openAttacks = map[string]fileAttack{
	"with no flag":                 {do: func(f *fileSession) { f.open("vault/shut/secret", 0); f.ask(fxpRead, first, 0, uint32(100)) }},
	"to read, that empties":        {do: func(f *fileSession) { f.open("shown/page", forRead|forTruncate) }},
	"to read, that makes":          {do: func(f *fileSession) { f.open("shown/new", forRead|forCreate) }},
	"that only makes":              {do: func(f *fileSession) { f.open("shown/new", forCreate) }},
	"that only empties":            {do: func(f *fileSession) { f.open("shown/page", forTruncate) }},
	"that makes exclusively":       {do: func(f *fileSession) { f.open("shown/new", forRead|forCreate|forExclusive) }},
	"to append":                    {do: func(f *fileSession) { f.put("shown/page", forWrite|forAppend) }},
	"to append alone":              {do: func(f *fileSession) { f.put("shown/page", forAppend) }, harmless: "the server opens it to read"},
	"to append to what is shut":    {do: func(f *fileSession) { f.put("vault/shut/secret", forRead|forWrite|forAppend) }},
	"with every flag":              {do: func(f *fileSession) { f.put("shown/new", 0x3f) }},
	"with flags that nobody knows": {do: func(f *fileSession) { f.put("shown/page", forWrite|0x80000000) }},
	"with a later version's flag":  {do: func(f *fileSession) { f.put("shown/page", forWrite|0x40) }},
	"to write a link's own bytes":  {do: func(f *fileSession) { f.put("work/link", forWrite|forExclusive) }},
	"with a mode that the file is to get": {do: func(f *fileSession) {
		f.ask(fxpOpen, "shown/new", forWrite|forCreate, attrMode, uint32(0o6777))
	}},
	"with attributes that never end": {do: func(f *fileSession) {
		f.cut(fxpOpen, "shown/new", forWrite|forCreate, uint32(0x80000000), uint32(0xffffffff))
	}, harmless: "the server minds it"},
	"with attributes that are cut":     {do: func(f *fileSession) { f.cut(fxpOpen, "shown/new", forWrite|forCreate, attrSize|attrMode) }, harmless: "the server minds it"},
	"of a folder to write":             {do: func(f *fileSession) { f.put("vault/shut", forWrite) }, harmless: "a folder is no file"},
	"of a file as a folder":            {do: func(f *fileSession) { f.list("vault/shut/secret") }, harmless: "a file is no folder"},
	"of a folder to read, as a file":   {do: func(f *fileSession) { f.fetch("vault/shut") }, harmless: "a folder is no file"},
	"of work, emptied, to see it does": {do: func(f *fileSession) { f.open("work/a", forRead|forTruncate) }, harmless: "it is the agent's own", passes: "only work is worked on"},
}

// attributeAttacks set attributes.
var attributeAttacks = map[string]fileAttack{
	"its mode":                          {do: func(f *fileSession) { f.ask(fxpSetstat, "work/../vault/shut/secret", attrMode, uint32(0o777)) }},
	"its size":                          {do: func(f *fileSession) { f.ask(fxpSetstat, "vault/shut/secret", attrSize, 0) }},
	"its times":                         {do: func(f *fileSession) { f.ask(fxpSetstat, "vault/shut/secret", attrTime, uint32(1), uint32(1)) }},
	"its owner, as root would":          {do: func(f *fileSession) { f.ask(fxpSetstat, "vault/shut/secret", attrOwner, uint32(0), uint32(0)) }, harmless: "the user is not root"},
	"its folder's mode":                 {do: func(f *fileSession) { f.ask(fxpSetstat, "vault/shut", attrMode, uint32(0o777)) }},
	"its mode, through a link":          {do: func(f *fileSession) { f.ask(fxpSetstat, "work/link", attrMode, uint32(0o777)) }},
	"its size, through a link":          {do: func(f *fileSession) { f.ask(fxpSetstat, "work/link", attrSize, 0) }},
	"its times, through a chain":        {do: func(f *fileSession) { f.ask(fxpSetstat, "work/chain", attrTime, uint32(1), uint32(1)) }},
	"its folder's mode, through a link": {do: func(f *fileSession) { f.ask(fxpSetstat, "work/folder", attrMode, uint32(0o777)) }},
	"a link's own times": {do: func(f *fileSession) {
		f.extend("lsetstat@openssh.com", "vault/shut/out", attrTime, uint32(1), uint32(1))
	}},
	"its times, as a link's own": {do: func(f *fileSession) {
		f.extend("lsetstat@openssh.com", "work/folder/secret", attrTime, uint32(1), uint32(1))
	}},
	"a link's own, in work":             {do: func(f *fileSession) { f.extend("lsetstat@openssh.com", "work/link", attrTime, uint32(1), uint32(1)) }, harmless: "the link is the agent's own", passes: "only work is worked on"},
	"the mode of what may be looked at": {do: func(f *fileSession) { f.ask(fxpSetstat, "shown/page", attrMode, uint32(0o777)) }},
	"the size of what may be looked at": {do: func(f *fileSession) { f.ask(fxpSetstat, "shown/page", attrSize, 1) }},
	"with flags that nobody knows":      {do: func(f *fileSession) { f.ask(fxpSetstat, "shown/page", attrMode|0x100, uint32(0o777)) }},
	"extended ones without end":         {do: func(f *fileSession) { f.cut(fxpSetstat, "shown/page", uint32(0x80000000), uint32(0xffffffff)) }, harmless: "the server minds it"},
	"none at all":                       {do: func(f *fileSession) { f.ask(fxpSetstat, "vault/shut/secret", none) }, harmless: "nothing is set"},
}

// listAttacks look at what is in the vault.
var listAttacks = map[string]fileAttack{
	"of the folder":                      {do: func(f *fileSession) { f.list("vault/shut") }},
	"of the folder, by dots":             {do: func(f *fileSession) { f.list("work/../vault/shut/.") }},
	"of the folder, by a folder in it":   {do: func(f *fileSession) { f.list("vault/shut/" + vaultName + "/..") }},
	"of the folder, read right behind":   {do: func(f *fileSession) { f.send(fxpOpendir, "vault/shut"); f.ask(fxpReaddir, first) }},
	"of a folder in it":                  {do: func(f *fileSession) { f.list("vault/shut/" + vaultName) }, harmless: "what is in there tells nothing"},
	"of a file as a folder":              {do: func(f *fileSession) { f.ask(fxpReaddir, f.open("work/a", forRead)) }, harmless: "a file is no folder"},
	"of where its link leads":            {do: func(f *fileSession) { f.ask(fxpRealpath, "vault/shut/out") }, under: "deny"},
	"of where a link of work leads to":   {do: func(f *fileSession) { f.ask(fxpRealpath, "work/folder/out") }, under: "deny"},
	"of what it is for, by its size":     {do: func(f *fileSession) { f.ask(fxpLstat, "vault/shut/secret") }},
	"of the file system's room":          {do: func(f *fileSession) { f.extend("statvfs@openssh.com", "vault/shut/secret") }, harmless: "it is the same everywhere here"},
	"of the file system's room, by dots": {do: func(f *fileSession) { f.extend("statvfs@openssh.com", "work/../vault/shut") }, harmless: "it is the same everywhere here"},
}

// extensionAttacks use extended requests.
var extensionAttacks = map[string]fileAttack{
	"that nobody knows":         {do: func(f *fileSession) { f.extend("evil@example.com", "vault/shut/secret") }, harmless: "the server knows none"},
	"that is a later server's":  {do: func(f *fileSession) { f.extend("copy-file", "vault/shut/secret", "work/mine", []byte{1}) }, harmless: "the server knows none"},
	"that digests a file":       {do: func(f *fileSession) { f.extend("check-file-name", "vault/shut/secret", "sha256", 0, 0, uint32(0)) }, harmless: "the server knows none"},
	"that names users":          {do: func(f *fileSession) { f.extend("users-groups-by-id@openssh.com", "\x00\x00\x00\x00", "") }, harmless: "it tells of no file"},
	"that names a home":         {do: func(f *fileSession) { f.extend("home-directory", "") }, harmless: "it tells of no file"},
	"without a name":            {do: func(f *fileSession) { f.extend("", "vault/shut/secret") }, harmless: "the server knows none"},
	"whose name has a NUL":      {do: func(f *fileSession) { f.extend("posix-rename@openssh.com\x00", "work/a", "vault/shut/secret") }},
	"whose name is in capitals": {do: func(f *fileSession) { f.extend("POSIX-RENAME@OPENSSH.COM", "work/a", "vault/shut/secret") }, harmless: "the server knows none"},
	"whose name's length lies": {do: func(f *fileSession) {
		f.cut(fxpExtended, []byte{0xff, 0xff, 0xff, 0xff}, []byte("posix-rename@openssh.com"))
	}, harmless: "the server hangs up"},
	"a rename with bytes behind": {do: func(f *fileSession) {
		f.extend("posix-rename@openssh.com", "work/a", "vault/shut/secret", []byte("more"))
	}},
	"a rename with a third path":          {do: func(f *fileSession) { f.extend("posix-rename@openssh.com", "work/a", "work/b", "vault/shut/secret") }, harmless: "the server takes two"},
	"a rename with one path":              {do: func(f *fileSession) { f.cut(fxpExtended, "posix-rename@openssh.com", "vault/shut/secret") }, harmless: "the server hangs up"},
	"a hard link through two links":       {do: func(f *fileSession) { f.extend("hardlink@openssh.com", "work/up/work/folder/secret", "work/mine") }},
	"a path of the home's":                {do: func(f *fileSession) { f.extend("expand-path@openssh.com", "~/vault/shut/out") }, under: "deny"},
	"a path of a user's home":             {do: func(f *fileSession) { f.extend("expand-path@openssh.com", "~deploy/vault/shut/out") }, under: "deny"},
	"a sync of what nobody opened":        {do: func(f *fileSession) { f.extend("fsync@openssh.com", first) }, harmless: "it is not open"},
	"a file system by what nobody opened": {do: func(f *fileSession) { f.extend("fstatvfs@openssh.com", first) }, harmless: "it is not open"},
	"a copy within one file": {do: func(f *fileSession) {
		h := f.open("work/a", forRead|forWrite)
		f.extend("copy-data", h, 0, 0, h, 3)
	}, harmless: "it is the agent's own"},
	"a copy without end": {do: func(f *fileSession) {
		f.extend("copy-data", f.open("shown/page", forRead), ^uint64(0), ^uint64(0), f.open("work/b", forWrite|forCreate), ^uint64(0))
	}, harmless: "there is nothing to copy"},
	"a copy from a folder": {do: func(f *fileSession) {
		from := f.ask(fxpOpendir, "work/dir").handle()
		f.extend("copy-data", from, 0, 0, f.open("work/b", forWrite|forCreate), 0)
	}, harmless: "a folder is no file"},
}

// packetAttacks send packets that no client sends.
var packetAttacks = map[string]fileAttack{
	"two with the same number": {do: func(f *fileSession) {
		f.write(append(pack(fxpOpen, 7, "work/a", forRead, none), pack(fxpOpen, 7, "vault/shut/secret", forRead, none)...))
		f.wait(func() bool { return f.ended || len(f.replies[7]) == 2 })
		f.ask(fxpRead, "\x00\x00\x00\x01", 0, uint32(100))
	}},
	"two hundred with the same number": {do: func(f *fileSession) {
		for range 200 {
			f.write(pack(fxpStat, 7, "work/../vault/shut/secret"))
		}
		f.wait(func() bool { return f.ended || len(f.replies[7]) == 200 })
	}},
	"a thousand before any answer is read": {do: func(f *fileSession) {
		var p []byte
		for i := range 1000 {
			p = append(p, pack(fxpStat, uint32(1000+i), "vault/shut/secret")...)
		}
		f.write(p)
		f.answer(1999)
	}},
	"one that is as large as can be, and its tail another": {do: func(f *fileSession) {
		tail := pack(fxpRemove, 9, "vault/shut/secret")
		h := f.open("work/a", forWrite)
		f.ask(fxpWrite, h, 0, strings.Repeat("x", 200<<10)+string(tail))
	}, harmless: "it is what a file is to hold", passes: "only work is worked on"},
	"one that is larger than can be": {do: func(f *fileSession) {
		f.write(append([]byte{0, 4, 0, 1}, pack(fxpRemove, 9, "vault/shut/secret")...))
		f.write(make([]byte, 256<<10))
		f.wait(func() bool { return f.ended })
	}, harmless: "the server hangs up", passes: "the session ends"},
	"one of four gigabytes": {do: func(f *fileSession) {
		f.write([]byte{0xff, 0xff, 0xff, 0xff, fxpRemove})
		f.wait(func() bool { return f.ended })
	},
		harmless: "the server hangs up", passes: "the session ends"},
	"one of no bytes": {do: func(f *fileSession) { f.write([]byte{0, 0, 0, 0}); f.ask(fxpRemove, "vault/shut/secret") },
		harmless: "the server hangs up", passes: "the session ends"},
	"one that is cut by the end": {do: func(f *fileSession) {
		p := pack(fxpRemove, 9, "vault/shut/secret")
		f.write(p[:len(p)-1])
		_ = f.in.Close()
		f.wait(func() bool { return f.ended })
	}, harmless: "it is not whole", passes: "the session ends"},
	"one in pieces of one byte": {do: func(f *fileSession) {
		for _, b := range pack(fxpRemove, 9, "vault/shut/secret") {
			f.write([]byte{b})
		}
		f.answer(9)
	}},
	"one, and the end right behind it": {do: func(f *fileSession) {
		f.write(pack(fxpRemove, 9, "vault/shut/secret"))
		_ = f.in.Close()
		f.wait(func() bool { return f.ended })
	}},
	"one with bytes behind its path": {do: func(f *fileSession) { f.ask(fxpRemove, "vault/shut/secret", "more") }},
	"one with two paths":             {do: func(f *fileSession) { f.ask(fxpRemove, "work/b", "vault/shut/secret") }, harmless: "the server takes one"},
	"one without a path":             {do: func(f *fileSession) { f.cut(fxpRemove) }, harmless: "the server hangs up"},
	"one whose path's length lies":   {do: func(f *fileSession) { f.cut(fxpRemove, []byte{0xff, 0xff, 0xff, 0xff}, []byte("vault/shut/secret")) }, harmless: "the server hangs up"},
	"a greeting behind the greeting": {do: func(f *fileSession) { f.write([]byte{0, 0, 0, 5, fxpInit, 0, 0, 0, 3}); f.fetch("vault/shut/secret") }},
	"a greeting of a later version": {do: func(f *fileSession) {
		f.write([]byte{0, 0, 0, 5, fxpInit, 0, 0, 0, 6})
		f.ask(21, "work/a", "vault/shut/new", []byte{0})
	}, harmless: "the server knows none"},
	"an answer, as a server gives":        {do: func(f *fileSession) { f.ask(fxpStatus, uint32(0), "OK", "") }, harmless: "the server takes none"},
	"a handle, as a server gives":         {do: func(f *fileSession) { f.ask(fxpHandle, first); f.ask(fxpRead, first, 0, uint32(9)) }, harmless: "the server takes none"},
	"a name, as a server gives":           {do: func(f *fileSession) { f.ask(fxpName, uint32(1), "/", "/", none) }, harmless: "the server takes none"},
	"an answer to an extension":           {do: func(f *fileSession) { f.ask(fxpExtendedReply, "vault/shut/secret") }, harmless: "the server takes none"},
	"a request of a later version's link": {do: func(f *fileSession) { f.ask(21, "work/mine", "vault/shut/secret", []byte{0}) }, harmless: "the server knows none"},
	"a request to lock":                   {do: func(f *fileSession) { f.ask(22, first, 0, 0, uint32(0)) }, harmless: "the server knows none"},
	"a request of type 0":                 {do: func(f *fileSession) { f.ask(0, "vault/shut/secret") }, harmless: "the server knows none"},
	"a request of type 255":               {do: func(f *fileSession) { f.ask(255, "vault/shut/secret") }, harmless: "the server knows none"},
	"a read of four gigabytes": {do: func(f *fileSession) {
		h := f.open("work/a", forRead)
		f.ask(fxpRead, h, 0, ^uint32(0))
		f.fetch("vault/shut/secret")
	}},
	"a read far behind the end":  {do: func(f *fileSession) { f.ask(fxpRead, f.open("work/a", forRead), ^uint64(0), uint32(100)) }, harmless: "there is nothing"},
	"a write far behind the end": {do: func(f *fileSession) { f.ask(fxpWrite, f.open("work/a", forWrite), ^uint64(0), "x") }, harmless: "there is no room"},
	"a write whose length lies": {do: func(f *fileSession) {
		f.cut(fxpWrite, f.open("work/a", forWrite), 0, []byte{0, 1, 0, 0}, []byte("x"))
	}, harmless: "the server hangs up"},
	"what a shell reads": {do: func(f *fileSession) {
		f.write([]byte("cat vault/shut/secret\n"))
		f.wait(func() bool { return f.ended })
	}, harmless: "the server hangs up", passes: "the session ends"},
}
