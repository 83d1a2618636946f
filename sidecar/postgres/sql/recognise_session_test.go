package sql

import "testing"

func TestSessionStatements(t *testing.T) {
	recognises(t, []recognised{
		{"BEGIN is session control", "begin isolation level serializable", "BEGIN() control reads"},
		{"START TRANSACTION is session control", "start transaction read only", "START TRANSACTION() control reads"},
		{"COMMIT is session control", "commit and chain", "COMMIT() control reads"},
		{"END is a COMMIT", "end", "COMMIT() control reads"},
		{"ROLLBACK is session control", "rollback", "ROLLBACK() control reads"},
		{"ABORT is a ROLLBACK", "abort", "ROLLBACK() control reads"},
		{"SAVEPOINT is session control", "savepoint s", "SAVEPOINT() control reads"},
		{"ROLLBACK TO is session control", "rollback to savepoint s", "ROLLBACK() control reads"},
		{"RELEASE is session control", "release s", "RELEASE() control reads"},
		{"PREPARE TRANSACTION is not session control", "prepare transaction 'x'", "PREPARE TRANSACTION()"},
		{"COMMIT PREPARED is not session control", "commit prepared 'x'", "COMMIT PREPARED()"},
		{"SET is session control", "set statement_timeout = 100", "SET() control reads"},
		{"SET LOCAL is session control", "set local work_mem to '1MB'", "SET() control reads"},
		{"SET TRANSACTION is session control", "set transaction isolation level read committed", "SET() control reads"},
		{"SET search_path is session control", "set search_path to a, b", "SET() control reads"},
		{"SET ROLE is not session control", "set role bob", "SET ROLE() reads"},
		{"SET SESSION AUTHORIZATION is not session control", "set session authorization bob", "SET SESSION AUTHORIZATION() reads"},
		{"SET of the server's protections is not session control", "set session_replication_role = replica", "SET() reads"},
		{"RESET is session control", "reset all", "RESET() control reads"},
		{"SHOW is session control", "show search_path", "SHOW() control reads"},
		{"SHOW ALL is session control", "show all", "SHOW() control reads"},
		{"DISCARD is session control", "discard all", "DISCARD ALL() control reads"},
		{"DEALLOCATE is session control", "deallocate p", "DEALLOCATE() control reads"},
		{"SET CONSTRAINTS names no table", "set constraints s.c deferred", "SET CONSTRAINTS() control reads"},
		{"LISTEN", "listen ch", "LISTEN()"},
		{"UNLISTEN is session control", "unlisten *", "UNLISTEN() control reads"},
		{"NOTIFY", "notify ch, 'x'", "NOTIFY()"},
		{"CHECKPOINT", "checkpoint", "CHECKPOINT()"},
	})
}
