package sql

import (
	"reflect"
	"testing"
)

func TestWhatTheWireHasToKnow(t *testing.T) {
	none := Statement{}
	text := func(c Copy) *Copy {
		c.Format, c.Delimiter, c.Null = "text", "\t", `\N`
		return &c
	}
	tests := map[string]struct {
		query string
		want  Statement // compared without text, commands and Inner's own
		inner Kind
	}{
		"SELECT":                          {"select 1", Statement{Kind: KindQuery, Tag: "SELECT", ReturnsRows: true}, 0},
		"SELECT INTO":                     {"select 1 into t", Statement{Tag: "CREATE TABLE AS", ChangesCatalogue: true}, 0},
		"SELECT INTO TEMP":                {"select 1 into temp t", Statement{Tag: "CREATE TABLE AS", ChangesCatalogue: true, CreatesTemporary: "t"}, 0},
		"INSERT":                          {"insert into t values (1)", Statement{Tag: "INSERT"}, 0},
		"INSERT RETURNING":                {"insert into t values (1) returning id", Statement{Kind: KindQuery, Tag: "INSERT", ReturnsRows: true}, 0},
		"MERGE RETURNING":                 {"merge into t using s on true when matched then delete returning id", Statement{Kind: KindQuery, Tag: "MERGE", ReturnsRows: true}, 0},
		"EXPLAIN":                         {"explain delete from t", Statement{Kind: KindExplain, Tag: "EXPLAIN", ReturnsRows: true}, KindOther},
		"SHOW":                            {"show work_mem", Statement{Kind: KindShow, Tag: "SHOW", ReturnsRows: true}, 0},
		"BEGIN":                           {"begin", Statement{Kind: KindTransaction, Tag: "BEGIN", Transaction: &Transaction{Kind: Begin}}, 0},
		"COMMIT AND CHAIN":                {"commit and chain", Statement{Kind: KindTransaction, Tag: "COMMIT", Transaction: &Transaction{Kind: Commit, Chain: true}}, 0},
		"ROLLBACK TO":                     {"rollback to s", Statement{Kind: KindTransaction, Tag: "ROLLBACK", Transaction: &Transaction{Kind: SavepointRollback, Name: "s"}}, 0},
		"COMMIT PREPARED":                 {"commit prepared 'g'", Statement{Kind: KindTransaction, Tag: "COMMIT PREPARED", Transaction: &Transaction{Kind: CommitPrepared, Name: "g"}}, 0},
		"SET":                             {"set work_mem = '1MB'", Statement{Kind: KindSet, Tag: "SET", Setting: &Setting{Name: "work_mem", Values: []string{"1MB"}}}, 0},
		"SET search_path":                 {`set local search_path to a, "B c"`, Statement{Kind: KindSet, Tag: "SET", Setting: &Setting{Name: "search_path", Values: []string{"a", "B c"}, Local: true, Class: SettingTracked}}, 0},
		"SET SCHEMA":                      {"set schema 'a'", Statement{Kind: KindSet, Tag: "SET", Setting: &Setting{Name: "search_path", Values: []string{"a"}, Class: SettingTracked}}, 0},
		"SET TO DEFAULT":                  {"set search_path to default", Statement{Kind: KindSet, Tag: "SET", Setting: &Setting{Name: "search_path", Reset: true, Class: SettingTracked}}, 0},
		"SET ROLE NONE":                   {"set role none", Statement{Kind: KindSet, Tag: "SET ROLE", Setting: &Setting{Name: "role", Values: []string{"none"}, Class: SettingTracked}}, 0},
		"SET of a number":                 {"set statement_timeout = 0", Statement{Kind: KindSet, Tag: "SET", Setting: &Setting{Name: "statement_timeout", Values: []string{"0"}}}, 0},
		"SET of a pinned setting":         {"set names 'utf8'", Statement{Kind: KindSet, Tag: "SET", Setting: &Setting{Name: "client_encoding", Values: []string{"utf8"}, Class: SettingPinned}}, 0},
		"RESET":                           {"reset role", Statement{Kind: KindSet, Tag: "RESET", Setting: &Setting{Name: "role", Reset: true, Class: SettingTracked}}, 0},
		"RESET ALL":                       {"reset all", Statement{Kind: KindSet, Tag: "RESET", Setting: &Setting{Reset: true, Class: SettingTracked}}, 0},
		"a SELECT that only sets":         {"select set_config('Search_Path', 'a, \"B\"\"c\" , D', true)", Statement{Kind: KindQuery, Tag: "SELECT", ReturnsRows: true, Setting: &Setting{Name: "search_path", Values: []string{"a", `B"c`, "d"}, Local: true, Class: SettingTracked}}, 0},
		"a SELECT that sets to nothing":   {"select set_config('search_path', '', false)", Statement{Kind: KindQuery, Tag: "SELECT", ReturnsRows: true, Setting: &Setting{Name: "search_path", Class: SettingTracked}}, 0},
		"PREPARE":                         {"prepare p (int, text) as select 1", Statement{Kind: KindPrepare, Tag: "PREPARE", Prepared: &Prepared{Name: "p", Parameters: 2}}, KindQuery},
		"EXECUTE":                         {"execute p (1)", Statement{Kind: KindExecute, Tag: "EXECUTE", ReturnsRows: true, Prepared: &Prepared{Name: "p", Parameters: 1}}, 0},
		"EXPLAIN EXECUTE":                 {"explain execute p", Statement{Kind: KindExplain, Tag: "EXPLAIN", ReturnsRows: true}, KindExecute},
		"CREATE TABLE AS EXECUTE":         {"create table t as execute p", Statement{Tag: "CREATE TABLE AS", ChangesCatalogue: true}, KindExecute},
		"DEALLOCATE":                      {"deallocate p", Statement{Kind: KindDeallocate, Tag: "DEALLOCATE", Prepared: &Prepared{Name: "p"}}, 0},
		"DEALLOCATE ALL":                  {"deallocate all", Statement{Kind: KindDeallocate, Tag: "DEALLOCATE ALL", Prepared: &Prepared{All: true}}, 0},
		"DECLARE":                         {"declare c cursor for select 1", Statement{Kind: KindDeclare, Tag: "DECLARE CURSOR", Cursor: &Cursor{Name: "c"}}, KindQuery},
		"DECLARE WITH HOLD":               {"declare c binary scroll cursor with hold for select 1", Statement{Kind: KindDeclare, Tag: "DECLARE CURSOR", Cursor: &Cursor{Name: "c", Hold: true}}, KindQuery},
		"FETCH":                           {"fetch all from c", Statement{Kind: KindFetch, Tag: "FETCH", ReturnsRows: true, Cursor: &Cursor{Name: "c"}}, 0},
		"MOVE":                            {"move 5 in c", Statement{Kind: KindFetch, Tag: "MOVE", Cursor: &Cursor{Name: "c", Move: true}}, 0},
		"CLOSE":                           {"close c", Statement{Kind: KindClose, Tag: "CLOSE CURSOR", Cursor: &Cursor{Name: "c"}}, 0},
		"CLOSE ALL":                       {"close all", Statement{Kind: KindClose, Tag: "CLOSE CURSOR", Cursor: &Cursor{All: true}}, 0},
		"COPY TO":                         {"copy t to stdout", Statement{Kind: KindCopy, Tag: "COPY TO", Copy: text(Copy{To: true})}, 0},
		"COPY FROM":                       {"copy t from stdin", Statement{Kind: KindCopy, Tag: "COPY FROM", Copy: text(Copy{})}, 0},
		"COPY as binary":                  {"copy t to stdout (format binary)", Statement{Kind: KindCopy, Tag: "COPY TO", Copy: &Copy{To: true, Format: "binary"}}, 0},
		"COPY as CSV":                     {"copy t to stdout (format csv, header, delimiter ';', force_quote (a, b))", Statement{Kind: KindCopy, Tag: "COPY TO", Copy: &Copy{To: true, Format: "csv", Delimiter: ";", Quote: `"`, Escape: `"`, Header: true, ForceQuote: []string{"a", "b"}}}, 0},
		"COPY as CSV with its own quotes": {"copy t to stdout (format 'CSV', header off, null 'N', quote '!', escape '?', force_quote *, encoding 'latin1')", Statement{Kind: KindCopy, Tag: "COPY TO", Copy: &Copy{To: true, Format: "csv", Delimiter: ",", Null: "N", Quote: "!", Escape: "?", ForceQuoteAll: true, Encoding: "latin1"}}, 0},
		"COPY in the old syntax":          {"copy t to stdout csv header quote '!' null as 'x'", Statement{Kind: KindCopy, Tag: "COPY TO", Copy: &Copy{To: true, Format: "csv", Delimiter: ",", Null: "x", Quote: "!", Escape: "!", Header: true}}, 0},
		"COPY with its own null":          {"copy t to stdout (null '')", Statement{Kind: KindCopy, Tag: "COPY TO", Copy: &Copy{To: true, Format: "text", Delimiter: "\t"}}, 0},
		"DISCARD ALL":                     {"discard all", Statement{Kind: KindDiscard, Tag: "DISCARD ALL", Discard: DiscardAll}, 0},
		"DISCARD TEMP":                    {"discard temporary", Statement{Kind: KindDiscard, Tag: "DISCARD TEMP", Discard: DiscardTemp}, 0},
		"LISTEN":                          {"listen c", Statement{Kind: KindListen, Tag: "LISTEN"}, 0},
		"NOTIFY":                          {"notify c", Statement{Kind: KindNotify, Tag: "NOTIFY"}, 0},
		"CALL":                            {"call p()", Statement{Kind: KindCall, Tag: "CALL", ReturnsRows: true, ChangesCatalogue: true}, 0},
		"DO":                              {"do ''", Statement{Tag: "DO", ChangesCatalogue: true}, 0},
		"CREATE TEMP TABLE":               {"create temp table t (id int)", Statement{Tag: "CREATE TABLE", ChangesCatalogue: true, CreatesTemporary: "t"}, 0},
		"CREATE TABLE pg_temp.t":          {"create table pg_temp.t (id int)", Statement{Tag: "CREATE TABLE", ChangesCatalogue: true, CreatesTemporary: "t"}, 0},
		"CREATE TEMP VIEW":                {"create temp view v as select 1", Statement{Tag: "CREATE VIEW", ChangesCatalogue: true, CreatesTemporary: "v"}, 0},
		"DROP":                            {"drop table t", Statement{Tag: "DROP TABLE", ChangesCatalogue: true}, 0},
		"TRUNCATE":                        {"truncate t", Statement{Tag: "TRUNCATE TABLE"}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse(tc.query, DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			got := parsed.Statements[0]
			if (got.Inner != nil) != (tc.inner != 0 || name == "EXPLAIN") || got.Inner != nil && got.Inner.Kind != tc.inner {
				t.Errorf("inner %+v", got.Inner)
			}
			got.Text, got.Start, got.End, got.Commands, got.Inner, got.node, got.st = none.Text, 0, 0, nil, nil, none.node, none.st
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%s\ngot  %+v\nwant %+v", tc.query, got, tc.want)
			}
		})
	}
}

func TestCheckSetting(t *testing.T) {
	for name, tc := range map[string]struct {
		setting, value string
		refused        bool
	}{
		"the encoding that statements are read in": {"client_encoding", "UTF-8", false},
		"another encoding":                         {"CLIENT_ENCODING", "SQL_ASCII", true},
		"an encoding that depends on the client":   {"client_encoding", "auto", true},
		"literals as they are read":                {"standard_conforming_strings", "ON", false},
		"literals otherwise":                       {"standard_conforming_strings", "0", true},
		"any other parameter":                      {"application_name", "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := CheckSetting(tc.setting, tc.value); (err != nil) != tc.refused {
				t.Errorf("got %v", err)
			}
		})
	}
}
