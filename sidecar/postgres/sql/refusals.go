package sql

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Group is a named part of the list of functions and relations that no statement may use. docs/refusals.md shows it;
// a test holds the two together.
type Group struct {
	Name policy.RefusalGroup
	// Why completes the sentence "function x may not be used: ".
	Why string
	// Functions count in every schema: extensions install theirs wherever they like; one whose name is too common is
	// listed with its schema. Relations are of pg_catalog where no schema is given.
	Functions, Relations []string
}

// Groups is the whole list. To refuse another function or relation, add it to the group whose reason fits.
func Groups() []Group {
	return slices.Clone(groups)
}

var groups = []Group{
	{
		Name: policy.RefuseSQLText, Why: "it takes SQL as text, which cannot be judged",
		Functions: strings.Fields(`
			ag_catalog.cypher cron.alter_job cron.schedule cron.schedule_in_database crosstab crosstab2 crosstab3
			crosstab4 crosstab_hash crosstabn dblink dblink_build_sql_delete dblink_build_sql_insert
			dblink_build_sql_update dblink_connect dblink_connect_u dblink_exec dblink_fetch dblink_get_result
			dblink_open dblink_send_query exec_sql execute_sql master_modify_multiple_shards master_run_on_worker
			pg_background_launch pg_background_submit pg_execute pglogical.replicate_ddl_command query_to_xml
			query_to_xml_and_xmlschema query_to_xmlschema run_command_on_all_nodes
			run_command_on_colocated_placements run_command_on_placements run_command_on_shards
			run_command_on_workers spock.replicate_ddl ts_rewrite ts_stat xpath_table
		`),
		Relations: strings.Fields(`
			cron.job
		`),
	},
	{
		Name: policy.RefuseNamedTables, Why: "it reads tables or cursors that it is told by name",
		Functions: strings.Fields(`
			connectby currtid2 cursor_to_xml cursor_to_xmlschema database_to_xml database_to_xml_and_xmlschema
			database_to_xmlschema pg_extension_config_dump schema_to_xml schema_to_xml_and_xmlschema
			schema_to_xmlschema table_to_xml table_to_xml_and_xmlschema table_to_xmlschema
		`),
	},
	{
		Name: policy.RefuseServerFiles, Why: "it reads or writes files of the server",
		Functions: strings.Fields(`
			aws_s3.query_export_to_s3 aws_s3.table_import_from_s3 lo_export lo_import pg_current_logfile
			pg_file_length pg_file_read pg_file_rename pg_file_sync pg_file_unlink pg_file_write pg_hba_file_rules
			pg_ident_file_mappings pg_logdir_ls pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir pg_ls_logicalmapdir
			pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir pg_read_binary_file
			pg_read_file pg_read_file_old pg_show_all_file_settings pg_stat_file
		`),
		Relations: strings.Fields(`
			pg_file_settings pg_hba_file_rules pg_ident_file_mappings
		`),
	},
	{
		Name: policy.RefuseRawStorage, Why: "it shows tables below their rows",
		Functions: strings.Fields(`
			brin_page_items brin_revmap_data bt_metap bt_multi_page_stats bt_page_items bt_page_stats
			fsm_page_contents get_raw_page get_raw_page_fork gin_leafpage_items gist_page_items
			gist_page_items_bytea hash_page_items heap_force_freeze heap_force_kill heap_page_item_attrs
			heap_page_items page_header pg_get_wal_block_info pg_get_wal_record_info pg_get_wal_records_info
			pg_mcv_list_items pg_truncate_visibility_map tuple_data_split
		`),
		Relations: strings.Fields(`
			pg_largeobject
		`),
	},
	{
		Name: policy.RefusePasswords, Why: "it holds passwords or their hashes",
		Relations: strings.Fields(`
			information_schema._pg_user_mappings information_schema.user_mapping_options pg_authid pg_dist_authinfo
			pg_shadow pg_subscription pg_user_mapping pg_user_mappings
		`),
	},
	{
		Name: policy.RefuseReplication, Why: "it belongs to replication",
		Functions: strings.Fields(`
			pg_copy_logical_replication_slot pg_copy_physical_replication_slot pg_create_logical_replication_slot
			pg_create_physical_replication_slot pg_drop_replication_slot pg_logical_emit_message
			pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes
			pg_logical_slot_peek_changes pg_replication_origin_advance pg_replication_origin_create
			pg_replication_origin_drop pg_replication_origin_session_reset pg_replication_origin_session_setup
			pg_replication_origin_xact_reset pg_replication_origin_xact_setup pg_replication_slot_advance
			pg_sync_replication_slots
		`),
	},
	{
		Name: policy.RefuseServerControl, Why: "it controls the server",
		Functions: strings.Fields(`
			binary_upgrade_create_empty_extension binary_upgrade_set_missing_value
			binary_upgrade_set_record_init_privs pg_backup_start pg_backup_stop pg_buffercache_evict
			pg_buffercache_evict_all pg_buffercache_evict_relation pg_create_restore_point
			pg_import_system_collations pg_nextoid pg_promote pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old
			pg_start_backup pg_stop_backup pg_stop_making_pinned_objects pg_switch_wal pg_switch_xlog
			pg_wal_replay_pause pg_wal_replay_resume
		`),
	},
	{
		Name: policy.RefuseSessions, Why: "it acts on other sessions",
		Functions: strings.Fields(`
			pg_cancel_backend pg_log_backend_memory_contexts pg_terminate_backend
		`),
	},
	{
		Name: policy.RefuseStatistics, Why: "it changes the server's statistics",
		Functions: strings.Fields(`
			pg_clear_attribute_stats pg_clear_relation_stats pg_restore_attribute_stats pg_restore_relation_stats
			pg_stat_reset pg_stat_reset_replication_slot pg_stat_reset_shared pg_stat_reset_slru
			pg_stat_reset_subscription_stats pg_stat_statements_reset
		`),
	},
	{
		Name: policy.RefuseConnections, Why: "it opens connections from the server",
		Functions: strings.Fields(`
			dblink_cancel_query dblink_close dblink_disconnect dblink_get_notify http_delete http_get http_head
			http_patch http_post http_put net.http_delete net.http_get net.http_post postgres_fdw_disconnect
			postgres_fdw_disconnect_all postgres_fdw_get_connections
		`),
	},
}

// refusedFunctions and refusedRelations are the groups by name; a relation of pg_catalog is there with its schema and
// without one, which could be any.
var refusedFunctions, refusedRelations = byName()

func byName() (functions, relations map[string]*Group) {
	functions, relations = make(map[string]*Group), make(map[string]*Group)
	for i := range groups {
		for _, name := range groups[i].Functions {
			functions[name] = &groups[i]
		}
		for _, name := range groups[i].Relations {
			if !strings.Contains(name, ".") {
				name = schemaCatalog + "." + name
			}
			relations[name] = &groups[i]
			relations[name[strings.IndexByte(name, '.'):]] = &groups[i]
		}
	}
	return functions, relations
}

// untrustedLanguages run with the server's own rights.
var untrustedLanguages = words(`c internal plpythonu plpython2u plpython3u plperlu pltclu plsh pljavau plrustu plr`)

// refuseFunction refuses a call of the function, if it is listed by this name.
func refuseFunction(b *builder, name string) {
	if g := refusedFunctions[name]; g != nil {
		b.guard(g, "function "+name)
	}
}

// refuseRelation refuses the use of the relation, if it is listed. Those that hold passwords hold more than that.
func (r *recogniser) refuseRelation(b *builder, n RelationName) {
	g := refusedRelations[n.Schema+"."+n.Name]
	if g == nil || g.Name == policy.RefusePasswords && harmless(r.root) {
		return
	}
	b.guard(g, n.Name)
}

// mention notes a name that may be a function's, in a statement that makes an operator, aggregate, cast or trigger
// which would call it. The word before it may be its schema.
func (r *recogniser) mention(name string, b *builder) {
	b.addMention(name)
	refuseFunction(b, name)
	for _, schema := range append(r.st.path(), r.mentioned) {
		refuseFunction(b, schema+"."+name)
	}
	r.mentioned = name
}

// attribute notes x.name where it may be a call, name(x): functions of one argument can be written like a field
// ("functional notation", section 8.16.5 of the server's manual), and of which type x is cannot be seen.
func (r *recogniser) attribute(name string, b *builder) {
	b.addFunction(name)
	if !onlyReads(name) {
		b.writes()
	}
	refuseFunction(b, name)
	for _, s := range r.st.path() {
		refuseFunction(b, s+"."+name)
	}
}

// call notes a function call and walks its arguments.
func (r *recogniser) call(n *pg_query.FuncCall, at place) {
	names, _ := stringsOf(n.Funcname)
	schema, name := relationOf(names)
	if schema == "" {
		at.b.addFunction(name)
	} else {
		at.b.addFunction(dotted(schema, name))
	}
	if name != "ts_rewrite" || len(n.Args) != 3 { // with three arguments it computes, with two it runs the second
		refuseFunction(at.b, name)
		refuseFunction(at.b, schema+"."+name)
		if schema == "" {
			for _, s := range r.st.path() {
				refuseFunction(at.b, s+"."+name)
			}
		}
	}
	if name == "set_config" {
		r.literal = true
		if n != r.lone {
			r.setConfig(n, at.b)
		}
	}
	if !onlyReads(name) {
		at.b.writes()
	}
	at.utility = false
	lists := [][]*pg_query.Node{n.Args, n.AggOrder, {n.AggFilter}}
	for _, list := range lists {
		r.nodes(list, at)
	}
	if n.Over != nil {
		r.node(n.Over, at)
	}
}
