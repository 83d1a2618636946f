package sql

import "strings"

// pureFunctions compute their result from their arguments alone, in every overload that pg_catalog has of them:
// what they return is clear where the arguments are.
var pureFunctions = words(`
abs acos acosd acosh area array_agg array_append array_cat array_dims array_fill array_length array_lower array_ndims
array_position array_positions array_prepend array_remove array_replace array_reverse array_sample array_shuffle
array_sort array_to_json array_to_string array_to_tsvector array_upper ascii asin asind asinh atan atan2 atan2d atand
atanh avg age
bit_and bit_count bit_length bit_or bit_xor bool_and bool_or bound_box box broadcast btrim
cardinality cbrt ceil ceiling center char_length character_length chr circle coalesce concat concat_ws convert
convert_from convert_to corr cos cosd cosh cot cotd count covar_pop covar_samp cume_dist crc32 crc32c casefold
date_add date_bin date_part date_subtract date_trunc daterange datemultirange decode degrees dense_rank diagonal
diameter div
encode enum_first enum_last enum_range erf erfc every exp extract
factorial family first_value float4 float8 floor format
gamma gcd generate_series generate_subscripts get_bit get_byte greatest
height host hostmask
inet_merge inet_same_family initcap int2 int4 int8 int4range int8range int4multirange int8multirange is_normalized
isclosed isempty isfinite isopen
json_agg json_agg_strict json_array_elements json_array_elements_text json_array_length json_build_array
json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object json_object_agg
json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict json_object_keys json_populate_record
json_populate_recordset json_scalar json_serialize json_strip_nulls json_to_record json_to_recordset json_typeof
jsonb_agg jsonb_agg_strict jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
jsonb_build_object jsonb_concat jsonb_contains jsonb_delete jsonb_delete_path jsonb_each jsonb_each_text jsonb_exists
jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object
jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_object_keys
jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
jsonb_populate_record_valid jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls
jsonb_to_record jsonb_to_recordset jsonb_typeof justify_days justify_hours justify_interval
lag last_value lcm lead least left length lgamma like like_escape line ln log log10 lower lower_inc lower_inf lpad
lseg ltrim
macaddr8_set7bit make_date make_interval make_time make_timestamp make_timestamptz masklen max md5 min min_scale mod
mode multirange
netmask network normalize notlike npoints nth_value ntile nullif num_nonnulls num_nulls numeric numnode nummultirange
numrange
octet_length overlaps overlay
parse_ident path pclose percent_rank percentile_cont percentile_disc phraseto_tsquery pi plainto_tsquery point
polygon popen position pow power
querytree quote_ident quote_literal quote_nullable
radians radius range_agg range_intersect_agg range_merge rank regexp_count regexp_instr regexp_like regexp_match
regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy
regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round
row_number row_to_json rpad rtrim
scale set_bit set_byte set_masklen setweight sha224 sha256 sha384 sha512 sign similar_to_escape sin sind sinh slope
split_part sqrt starts_with stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos
substr substring sum
tan tand tanh text timezone to_ascii to_bin to_char to_date to_hex to_json to_jsonb to_number to_oct to_timestamp
to_tsquery to_tsvector translate trim_array trim_scale trunc ts_delete ts_filter ts_headline ts_rank ts_rank_cd
tsquery_phrase tsrange tsmultirange tstzrange tstzmultirange tsvector_to_array
unistr unnest upper upper_inc upper_inf uuid_extract_timestamp uuid_extract_version
var_pop var_samp variance
websearch_to_tsquery width width_bucket
xmlagg xmlcomment xmlconcat xmlelement xmlexists xmlforest xmlpi xmlroot xmltext xml_is_well_formed
xml_is_well_formed_content xml_is_well_formed_document xpath xpath_exists
`)

// harmlessFunctions tell of the server, the session or an object's definition, never of a table's rows: their
// result is clear, but what they are given may show elsewhere.
var harmlessFunctions = words(`
clock_timestamp now statement_timestamp transaction_timestamp timeofday random random_normal gen_random_uuid uuidv4
uuidv7 uuid_generate_v4 version current_database current_catalog current_schema current_schemas current_user
session_user current_role current_setting getpgusername inet_client_addr inet_client_port inet_server_addr
inet_server_port pg_backend_pid pg_blocking_pids pg_conf_load_time pg_is_in_recovery pg_is_other_temp_schema
pg_jit_available pg_my_temp_schema pg_postmaster_start_time pg_trigger_depth pg_typeof pg_client_encoding
getdatabaseencoding pg_encoding_to_char pg_char_to_encoding pg_current_snapshot pg_current_xact_id
pg_current_xact_id_if_assigned txid_current txid_current_if_assigned txid_current_snapshot txid_status pg_xact_status
pg_export_snapshot pg_current_wal_lsn pg_last_wal_replay_lsn pg_last_wal_receive_lsn pg_wal_lsn_diff
has_any_column_privilege has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
has_function_privilege has_language_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege
has_server_privilege has_table_privilege has_tablespace_privilege has_type_privilege pg_has_role row_security_active
format_type pg_get_constraintdef pg_get_expr pg_get_function_arguments pg_get_function_identity_arguments
pg_get_function_result pg_get_function_sqlbody pg_get_function_arg_default pg_get_functiondef pg_get_indexdef
pg_get_keywords pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef pg_get_ruledef
pg_get_serial_sequence pg_get_statisticsobjdef pg_get_statisticsobjdef_columns pg_get_triggerdef pg_get_userbyid
pg_get_viewdef pg_get_publication_tables pg_get_replica_identity_index pg_options_to_table pg_sequence_parameters
pg_sequence_last_value pg_tablespace_location pg_relation_filenode pg_relation_is_updatable pg_column_is_updatable
pg_relation_is_publishable pg_describe_object pg_identify_object pg_identify_object_as_address col_description
obj_description shobj_description pg_table_is_visible pg_type_is_visible pg_function_is_visible
pg_operator_is_visible pg_opclass_is_visible pg_opfamily_is_visible pg_collation_is_visible
pg_conversion_is_visible pg_statistics_obj_is_visible pg_ts_config_is_visible pg_ts_dict_is_visible
pg_ts_parser_is_visible pg_ts_template_is_visible pg_index_column_has_property pg_index_has_property
pg_indexam_has_property pg_partition_root pg_partition_tree pg_partition_ancestors
to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure to_regrole
to_regtype to_regtypemod pg_size_pretty pg_size_bytes pg_relation_size pg_table_size pg_indexes_size
pg_total_relation_size pg_database_size pg_tablespace_size pg_collation_for aclexplode acldefault makeaclitem
pg_timezone_names pg_timezone_abbrevs pg_show_all_settings pg_settings_get_flags pg_listening_channels
pg_notification_queue_usage pg_sleep pg_sleep_for pg_sleep_until merge_action _pg_expandarray _pg_truetypid
_pg_truetypmod _pg_char_max_length _pg_char_octet_length _pg_numeric_precision _pg_numeric_precision_radix
_pg_numeric_scale _pg_datetime_precision _pg_interval_type _pg_index_position
`)

// changingFunctions are harmless as those above, but change something.
var changingFunctions = words(`
nextval currval lastval setval setseed set_config pg_notify
pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared
pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
lo_create lo_creat lo_unlink lo_close lo_open lo_lseek lo_lseek64 lo_tell lo_tell64 lo_truncate lo_truncate64
lo_put lowrite lo_from_bytea
`)

// readingFunctions change nothing, but return what somebody stored.
var readingFunctions = words(`lo_get loread`)

// onlyReads reports whether a call of the function changes nothing. An unknown function may do anything.
func onlyReads(name string) bool {
	return pureFunctions[name] || harmlessFunctions[name] || readingFunctions[name]
}

// returnsClear reports whether a function's result holds nothing but what its arguments do.
func returnsClear(name string) bool {
	return pureFunctions[name] || harmlessFunctions[name] || changingFunctions[name]
}

// Harmless tells whether statements may call a function of this name, where it is the server's own, without its
// result being doubted.
func Harmless(name string) bool { return returnsClear(name) }

// MayChangeSession tells whether a function, by its name as in policy.SQL's Functions, may leave the session other than
// it was: one that is not the server's own can call set_config, where no statement shows it.
func MayChangeSession(function string) bool {
	schema, name := "", function
	if i := strings.LastIndexByte(function, '.'); i >= 0 {
		schema, name = function[:i], function[i+1:]
	}
	return !isBuiltin(schema, name) || !returnsClear(name)
}
