-- Everything that a database and its server hold, a line each. Contents come whole, so that they can be searched.
SELECT line FROM (
  SELECT format('relation %s.%s %s %s %s', n.nspname, c.relname, c.relkind, c.relacl, c.reloptions) ||
    CASE WHEN c.relkind IN ('r', 'p', 'm') THEN ' rows ' || query_to_xml(format('SELECT * FROM ONLY %I.%I t ORDER BY t::text', n.nspname, c.relname), true, true, '')::text
         WHEN c.relkind = 'v' THEN ' ' || pg_get_viewdef(c.oid)
         WHEN c.relkind = 'S' THEN ' ' || pg_sequence_last_value(c.oid)::text
         WHEN c.relkind IN ('i', 'I') THEN ' ' || pg_get_indexdef(c.oid) ELSE '' END AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast_temp)_' AND c.relname !~ '^pg_stat_statements'
  UNION ALL SELECT format('column %s %s %s %s', a.attrelid::regclass, a.attnum, a.attname, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND n.nspname IN ('public', 'pii') AND c.relkind IN ('r', 'v', 'm', 'f')
  UNION ALL SELECT format('function %s %s %s %s', oid::regprocedure, prosrc, proconfig, proacl) FROM pg_proc WHERE pronamespace <> 'pg_catalog'::regnamespace
  UNION ALL SELECT format('schema %s %s', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast_temp)_'
  UNION ALL SELECT format('type %s %s', typnamespace::regnamespace, typname) FROM pg_type WHERE typnamespace IN ('public'::regnamespace, 'pii'::regnamespace)
  UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
  UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT 'rule ' || pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename <> '_RETURN'
  UNION ALL SELECT format('policy %s %s %s', polname, polrelid::regclass, pg_get_expr(polqual, polrelid)) FROM pg_policy
  UNION ALL SELECT format('description %s', description) FROM pg_description WHERE objoid > 16000
  UNION ALL SELECT format('seclabel %s', label) FROM pg_seclabel
  UNION ALL SELECT format('large object %s %s', loid, encode(data, 'escape')) FROM pg_largeobject
  UNION ALL SELECT format('extension %s', extname) FROM pg_extension
  UNION ALL SELECT format('operator %s %s', oprname, oprcode) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace
  UNION ALL SELECT format('cast %s %s', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid > 16000
  UNION ALL SELECT format('server %s %s', srvname, srvoptions) FROM pg_foreign_server
  UNION ALL SELECT format('mapping %s %s', umserver, umoptions) FROM pg_user_mapping
  UNION ALL SELECT format('publication %s', pubname) FROM pg_publication
  UNION ALL SELECT format('subscription %s', subname) FROM pg_subscription
  UNION ALL SELECT format('event trigger %s', evtname) FROM pg_event_trigger
  UNION ALL SELECT format('slot %s', slot_name) FROM pg_replication_slots
  UNION ALL SELECT format('prepared transaction %s', gid) FROM pg_prepared_xacts
  UNION ALL SELECT format('language %s', lanname) FROM pg_language
  UNION ALL SELECT format('role %s %s %s %s %s %s', rolname, rolsuper, rolcreaterole, rolcanlogin, rolreplication, md5(rolpassword)) FROM pg_authid
  UNION ALL SELECT format('member %s of %s', member::regrole, roleid::regrole) FROM pg_auth_members
  UNION ALL SELECT format('setting %s %s %s', setdatabase, setrole, setconfig) FROM pg_db_role_setting
  UNION ALL SELECT format('database %s %s %s', datname, datacl, datallowconn) FROM pg_database WHERE datname !~ '^evasion_'
  UNION ALL SELECT format('tablespace %s', spcname) FROM pg_tablespace
  UNION ALL SELECT format('configuration %s', md5(pg_read_file('postgresql.auto.conf')))
  UNION ALL SELECT format('file %s', f) FROM pg_ls_dir('.') f WHERE f NOT IN ('postmaster.pid', 'pg_internal.init')
  UNION ALL SELECT format('file above %s', f) FROM pg_ls_dir('..') f WHERE f !~ '^\.s\.PGSQL'
) s ORDER BY line
