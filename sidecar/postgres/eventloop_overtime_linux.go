package postgres

import "time"

// watchTime looks at all sessions from time to time, as long as there is one whose time is limited.
func (l *eventLoop) watchTime() {
	if l.timing {
		return
	}
	l.timing = true
	time.AfterFunc(overtimeLook, func() {
		l.post(func() {
			l.timing = false
			now, limited := time.Now(), false
			for s := range l.sessions {
				s.guard(func() { limited = s.watchTime(now) || limited })
				s.fail()
			}
			if limited {
				l.watchTime()
			}
		})
	})
}

// watchTime looks at one session, and tells whether it is to be looked at again.
func (s *looped) watchTime(now time.Time) bool {
	switch {
	case s.over:
		return false
	case s.elsewhere: // looked at when it is back
		if !s.looking {
			s.looking = true
			s.after = append(s.after, func() {
				s.looking = false
				s.watchTime(time.Now())
			})
		}
		return true
	case s.asking:
		return true
	case !s.core.LimitsTime():
		return false
	}
	cancel, end := s.overtime.look(s.core, now, s.toAgent.pending())
	if cancel {
		s.cancelUpstream(func() {})
	}
	switch {
	case end:
		s.interrupted(errOvertime)
	case !cancel:
		s.toSend()
	}
	return !s.over
}
