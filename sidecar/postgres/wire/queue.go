package wire

// answer is what kind of answer the server owes.
type answer uint8

const (
	answerParse answer = iota + 1
	answerBind
	answerClose
	answerDescribeStatement
	answerDescribePortal
	answerExecute
	answerSync
	answerQuery
	// answerOwn is no answer of the server's: message goes to the agent when its turn comes.
	answerOwn
	// answerRefused is the error that a message of ours provokes: message takes its place.
	answerRefused
)

// owed is one answer that the server owes, or one that we give in its place, in the order in which the agent
// has to see them.
type owed struct {
	kind answer
	// segment numbers the run of messages up to the next Sync; an error makes the server skip to its end.
	segment uint64
	// hidden answers are to messages of our own; nothing of them goes to the agent.
	hidden bool
	// ready says that a ReadyForQuery follows message (answerOwn).
	ready   bool
	message []byte

	// name and what it stood for before (Parse, Bind, Close), to be restored if the server never came so far.
	name      string
	statement *statement
	bound     *portal
	wasStmt   *statement
	wasBound  *portal

	// describes is whose result is described; of the portal that is described or executed.
	describes *statement
	of        *portal

	judged *judged
	run    execution
	// sensitive says that the errors of statements before it in the transaction may come with it.
	sensitive bool
	// counted says that nameWork counts it.
	counted bool
	// refresh is what a hidden query is for.
	refresh *refresh
}

// queue is a ring of owed answers.
type queue struct {
	ring []owed
	head int
	n    int
	// popped counts the answers that have been given.
	popped uint64
}

func (q *queue) len() int { return q.n }

// push adds an answer and returns its place, which is valid until the next push.
func (q *queue) push(o owed) *owed {
	if q.n == len(q.ring) {
		grown := make([]owed, max(16, 2*q.n))
		for i := range q.n {
			grown[i] = *q.at(i)
		}
		q.ring, q.head = grown, 0
	}
	q.n++
	at := q.at(q.n - 1)
	*at = o
	return at
}

// at returns the i-th answer from the front.
func (q *queue) at(i int) *owed { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// front is the answer that the server gives now; nil when it owes none.
func (q *queue) front() *owed {
	if q.n == 0 {
		return nil
	}
	return q.at(0)
}

func (q *queue) pop() {
	*q.at(0) = owed{}
	q.popped++
	q.head = (q.head + 1) & (len(q.ring) - 1)
	if q.n--; q.n == 0 {
		q.head = 0 // the places that were used last are near
	}
}

// judgedParts are the statements of what runs.
func (o *owed) judgedParts() []part {
	if o.judged == nil {
		return nil
	}
	return o.judged.parts
}

// part is the statement that answers now; nil where that is not known.
func (o *owed) part() *part {
	if o.judged == nil || o.run.part >= len(o.judged.parts) {
		return nil
	}
	return &o.judged.parts[o.run.part]
}
