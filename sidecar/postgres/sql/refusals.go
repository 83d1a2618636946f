package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// The functions that no statement may call, whatever the rules say, by the reason. A name counts in every schema:
// extensions install theirs wherever they like; one that is too common is listed with its schema. To refuse
// another, add it to the list whose reason fits.
var refusedFunctions = merge(
	refusal("it takes SQL as text, which cannot be judged", `
		query_to_xml query_to_xmlschema query_to_xml_and_xmlschema ts_stat ts_rewrite
		dblink dblink_exec dblink_open dblink_send_query dblink_connect dblink_connect_u dblink_fetch dblink_get_result
		dblink_build_sql_insert dblink_build_sql_update dblink_build_sql_delete
		crosstab crosstab2 crosstab3 crosstab4 crosstabn crosstab_hash
		execute_sql exec_sql pg_execute run_command_on_workers run_command_on_placements run_command_on_shards
		run_command_on_colocated_placements run_command_on_all_nodes master_run_on_worker
		pg_background_launch pg_background_submit cron.schedule cron.schedule_in_database cron.alter_job
		ag_catalog.cypher xpath_table`),
	refusal("it reads tables or cursors that it is told by name", `
		table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema
		schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema
		cursor_to_xml cursor_to_xmlschema connectby currtid2 pg_extension_config_dump`),
	refusal("it reads or writes files of the server", `
		pg_read_file pg_read_file_old pg_read_binary_file pg_stat_file pg_ls_dir pg_ls_logdir pg_ls_waldir
		pg_ls_tmpdir pg_ls_archive_statusdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir
		pg_ls_summariesdir lo_import lo_export pg_file_write pg_file_read pg_file_rename pg_file_unlink pg_file_sync
		pg_file_length pg_logdir_ls pg_current_logfile pg_hba_file_rules pg_ident_file_mappings
		pg_show_all_file_settings aws_s3.query_export_to_s3 aws_s3.table_import_from_s3`),
	refusal("it reads tables below their rows", `
		get_raw_page get_raw_page_fork page_header heap_page_items heap_page_item_attrs fsm_page_contents
		tuple_data_split bt_metap bt_page_stats bt_page_items bt_multi_page_stats brin_page_items brin_revmap_data
		gin_leafpage_items gist_page_items gist_page_items_bytea hash_page_items
		pg_get_wal_record_info pg_get_wal_records_info pg_get_wal_block_info
		heap_force_kill heap_force_freeze pg_truncate_visibility_map pg_mcv_list_items`),
	refusal("it belongs to replication", `
		pg_create_physical_replication_slot pg_create_logical_replication_slot pg_copy_physical_replication_slot
		pg_copy_logical_replication_slot pg_drop_replication_slot pg_replication_slot_advance
		pg_sync_replication_slots pg_logical_slot_get_changes pg_logical_slot_peek_changes
		pg_logical_slot_get_binary_changes pg_logical_slot_peek_binary_changes pg_logical_emit_message
		pg_replication_origin_create pg_replication_origin_drop pg_replication_origin_advance
		pg_replication_origin_session_setup pg_replication_origin_session_reset
		pg_replication_origin_xact_setup pg_replication_origin_xact_reset`),
	refusal("it controls the server", `
		pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old pg_promote pg_switch_wal pg_switch_xlog
		pg_create_restore_point pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup pg_wal_replay_pause
		pg_wal_replay_resume pg_terminate_backend pg_cancel_backend pg_log_backend_memory_contexts
		pg_import_system_collations pg_nextoid pg_stop_making_pinned_objects pg_stat_reset
		pg_stat_reset_shared pg_stat_reset_slru pg_stat_reset_replication_slot pg_stat_reset_subscription_stats
		pg_stat_statements_reset binary_upgrade_create_empty_extension binary_upgrade_set_missing_value
		binary_upgrade_set_record_init_privs pg_restore_relation_stats pg_restore_attribute_stats
		pg_clear_relation_stats pg_clear_attribute_stats`),
	refusal("it opens connections from the server", `
		dblink_disconnect http_get http_post http_put http_patch http_delete http_head net.http_get net.http_post
		net.http_delete postgres_fdw_get_connections`),
)

// untrustedLanguages run with the server's own rights.
var untrustedLanguages = words(`c internal plpythonu plpython2u plpython3u plperlu pltclu plsh pljavau plrustu plr`)

func refusal(why, names string) map[string]string {
	out := make(map[string]string)
	for name := range words(names) {
		out[name] = why
	}
	return out
}

func merge(maps ...map[string]string) map[string]string {
	out := make(map[string]string)
	for _, m := range maps {
		for name, why := range m {
			out[name] = why
		}
	}
	return out
}

// mention refuses a name that is one of a refused function, in a statement that makes an operator, aggregate,
// cast or trigger which would call it.
func (r *recogniser) mention(name string, b *builder) {
	if why, refused := refusedFunctions[name]; refused {
		b.refuse("function " + name + " may not be used: " + why)
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
		r.mention(name, at.b)
		r.mention(schema+"."+name, at.b)
		if schema == "" {
			for _, s := range r.st.path() {
				r.mention(s+"."+name, at.b)
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
