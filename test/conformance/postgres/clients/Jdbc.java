// Checks of the PostgreSQL JDBC driver: one line each, its name, a tab, and what it saw, or how it broke.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObjectManager;

public class Jdbc {
    static final String host = System.getenv("CHECK_HOST"), port = System.getenv("CHECK_PORT"), client = System.getenv("CHECK_CLIENT"),
            askingPort = System.getenv("CHECK_ASKING_PORT"), role = System.getenv("CHECK_ROLE"), password = System.getenv("CHECK_PASSWORD"),
            root = System.getenv("CHECK_ROOT"), stranger = System.getenv("CHECK_STRANGER");
    static String current;

    interface Check { Object run() throws Exception; }

    static final Map<String, Check> checks = new LinkedHashMap<>();

    static Connection connect(String... more) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", "postgres");
        p.setProperty("sslmode", "disable");
        p.setProperty("ApplicationName", client + "/" + current);
        for (int i = 0; i < more.length; i += 2) p.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + host + ":" + port + "/clients", p);
    }

    /** What the driver sees where it has to prove a password: from 42.7.4 on it takes channelBinding; those before do not bind. */
    static Object asked(String password, String... more) {
        Properties p = new Properties();
        p.setProperty("user", role);
        p.setProperty("password", password);
        p.setProperty("sslmode", "verify-full");
        p.setProperty("sslrootcert", root);
        p.setProperty("ApplicationName", "binding"); // apart: what does not connect here is not a refusal of the check's own
        for (int i = 0; i < more.length; i += 2) p.setProperty(more[i], more[i + 1]);
        try (Connection c = DriverManager.getConnection("jdbc:postgresql://" + host + ":" + askingPort + "/clients", p)) {
            return ask(c, "SELECT current_user");
        } catch (SQLException e) {
            return e.getSQLState();
        }
    }

    static List<List<Object>> rows(ResultSet r) throws SQLException {
        List<List<Object>> out = new ArrayList<>();
        while (r.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
                Object v = r.getObject(i);
                row.add(v instanceof byte[] b ? HexFormat.of().formatHex(b) : v instanceof java.sql.Array a ? Arrays.deepToString((Object[]) a.getArray()) : v);
            }
            out.add(row);
        }
        return out;
    }

    static List<List<Object>> ask(Connection c, String query, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(query)) {
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            return rows(s.executeQuery());
        }
    }

    static void run(Connection c, String... statements) throws SQLException {
        try (Statement s = c.createStatement()) {
            for (String sql : statements) s.execute(sql);
        }
    }

    static void table(Connection c, String name) throws SQLException {
        run(c, "DROP TABLE IF EXISTS " + name, "CREATE TABLE " + name + " (id int PRIMARY KEY, name text)");
    }

    static Object diagnosis(SQLException e) {
        if (e instanceof org.postgresql.util.PSQLException p && p.getServerErrorMessage() != null) {
            var m = p.getServerErrorMessage();
            return Arrays.asList(m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint(), m.getPosition(), m.getConstraint());
        }
        return e.getSQLState() + " " + e.getMessage();
    }

    static Object tls(String mode, String root) throws SQLException {
        try (Connection c = connect("sslmode", mode, "sslrootcert", root)) {
            return ask(c, "SELECT 'connected'");
        }
    }

    static Object modes(String mode, String binary) throws SQLException {
        try (Connection c = connect("preferQueryMode", mode, "binaryTransfer", binary, "prepareThreshold", "1")) {
            List<Object> out = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                out = new ArrayList<>(ask(c, "SELECT CAST(? AS int), CAST(? AS text), CAST(? AS bigint), CAST(? AS float8), CAST(? AS numeric), CAST(? AS bool), "
                        + "CAST(? AS date), CAST(? AS bytea), CAST(CAST(? AS timestamptz) AS text), CAST(? AS text)", i, "it's ü€",
                        1L << 40, 1.5, new java.math.BigDecimal("3.1400"), true, java.sql.Date.valueOf("2026-02-28"),
                        mode.equals("simple") ? null : new byte[] {0, -1}, // which the driver cannot write into a statement
                        "2026-02-28 12:00:00+02", null));
            }
            out.add(ask(c, "SELECT ARRAY['a', NULL, 'b'], '00000000-0000-0000-0000-000000000005'::uuid, '{\"a\": 1}'::jsonb, interval '1 day 2 seconds'"));
            return out;
        }
    }

    static void register() {
        for (String mode : List.of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))
            checks.put("sslmode " + mode, () -> tls(mode, root));
        checks.put("sslmode verify-full with a root that signed nothing", () -> {
            try {
                return tls("verify-full", stranger);
            } catch (SQLException e) {
                return e.getSQLState() + " " + e.getMessage();
            }
        });
        checks.put("a password that is asked for", () -> List.of(asked(password), asked("wrong"), asked(password, "sslmode", "disable")));
        checks.put("channelBinding require", () -> {
            DriverPropertyInfo[] known = new org.postgresql.Driver().getPropertyInfo("jdbc:postgresql:", new Properties());
            if (Arrays.stream(known).noneMatch(i -> i.name.equals("channelBinding"))) return "this driver does not bind";
            return List.of(asked(password, "channelBinding", "require"), asked("wrong", "channelBinding", "require"),
                    asked(password, "channelBinding", "require", "sslmode", "disable"));
        });
        for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything"))
            for (String binary : List.of("true", "false"))
                checks.put("query mode " + mode + (binary == "true" ? " in binary" : " in text"), () -> modes(mode, binary));
        checks.put("prepared statements on the server", () -> {
            try (Connection c = connect("prepareThreshold", "2", "preparedStatementCacheQueries", "3")) {
                table(c, "jdbc_prepared");
                try (PreparedStatement insert = c.prepareStatement("INSERT INTO jdbc_prepared VALUES (?, ?)")) {
                    for (int i = 0; i < 20; i++) {
                        insert.setInt(1, i);
                        insert.setString(2, "n" + i);
                        insert.executeUpdate();
                    }
                }
                for (int i = 0; i < 30; i++) ask(c, "SELECT " + i + " + ?", i);
                List<Object> out = new ArrayList<>(ask(c, "SELECT count(*) < 10 FROM pg_prepared_statements"));
                for (int i = 0; i < 5; i++) out.add(ask(c, "SELECT * FROM jdbc_prepared WHERE id = ?", i));
                run(c, "ALTER TABLE jdbc_prepared ADD more int");
                c.setAutoCommit(true);
                out.add(ask(c, "SELECT name FROM jdbc_prepared WHERE id = ?", 7));
                return out;
            }
        });
        for (String rewrite : List.of("false", "true"))
            checks.put("batches" + (rewrite == "true" ? " made one statement" : ""), () -> {
                try (Connection c = connect("reWriteBatchedInserts", rewrite)) {
                    table(c, "jdbc_batch");
                    List<Object> out = new ArrayList<>();
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_batch VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                        for (int i = 0; i < 1000; i++) {
                            s.setInt(1, i);
                            s.setString(2, "n" + i);
                            s.addBatch();
                        }
                        out.add(s.executeBatch().length);
                        s.setInt(1, 5000); s.setString(2, "x"); s.addBatch();
                        s.setInt(1, 5); s.setString(2, "twice"); s.addBatch();
                        try {
                            s.executeBatch();
                        } catch (BatchUpdateException e) {
                            out.add(Arrays.toString(e.getUpdateCounts()));
                            out.add(diagnosis((SQLException) e.getCause()));
                        }
                    }
                    out.add(ask(c, "SELECT count(*), sum(id) FROM jdbc_batch"));
                    return out;
                }
            });
        checks.put("generated keys", () -> {
            try (Connection c = connect()) {
                run(c, "DROP TABLE IF EXISTS jdbc_keys", "CREATE TABLE jdbc_keys (id serial, name text)");
                try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_keys (name) VALUES ('a'), ('b')", Statement.RETURN_GENERATED_KEYS)) {
                    s.executeUpdate();
                    return rows(s.getGeneratedKeys());
                }
            }
        });
        checks.put("several statements and results", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                List<Object> out = new ArrayList<>();
                boolean rows = s.execute("SELECT 1; CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1), (2); SELECT sum(n) FROM t");
                while (rows || s.getUpdateCount() != -1) {
                    out.add(rows ? rows(s.getResultSet()) : s.getUpdateCount());
                    rows = s.getMoreResults();
                }
                return out;
            }
        });
        checks.put("copy in and out", () -> {
            try (Connection c = connect()) {
                table(c, "jdbc_copy");
                CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
                StringBuilder text = new StringBuilder();
                for (int i = 0; i < 5000; i++) text.append(i).append(",n").append(i).append('\n');
                List<Object> out = new ArrayList<>();
                out.add(copy.copyIn("COPY jdbc_copy FROM STDIN CSV", new StringReader(text.toString())));
                ByteArrayOutputStream binary = new ByteArrayOutputStream();
                out.add(copy.copyOut("COPY jdbc_copy TO STDOUT (FORMAT binary)", binary));
                run(c, "TRUNCATE jdbc_copy");
                out.add(copy.copyIn("COPY jdbc_copy FROM STDIN (FORMAT binary)", new ByteArrayInputStream(binary.toByteArray())));
                try {
                    copy.copyIn("COPY jdbc_copy FROM STDIN", new StringReader("1\tx\nnot a number\ty\n"));
                } catch (SQLException e) {
                    out.add(diagnosis(e));
                }
                out.add(ask(c, "SELECT count(*) FROM jdbc_copy"));
                return out;
            }
        });
        checks.put("fetch size", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                List<Object> out = new ArrayList<>();
                try (PreparedStatement s = c.prepareStatement("SELECT generate_series(1, ?)")) {
                    s.setFetchSize(50);
                    for (int turn = 0; turn < 7; turn++) {
                        s.setInt(1, 1030 + turn);
                        long sum = 0;
                        try (ResultSet r = s.executeQuery()) {
                            while (r.next()) sum += r.getInt(1);
                        }
                        out.add(sum);
                    }
                    s.setMaxRows(30);
                    out.add(rows(s.executeQuery()).size());
                }
                // Left open half-way while another is read.
                Statement one = c.createStatement(), other = c.createStatement();
                one.setFetchSize(10);
                other.setFetchSize(10);
                ResultSet a = one.executeQuery("SELECT generate_series(1, 100)"), b = other.executeQuery("SELECT generate_series(1, 100)");
                long sum = 0;
                while (a.next() && b.next()) sum += a.getInt(1) * b.getInt(1);
                out.add(sum);
                c.commit();
                return out;
            }
        });
        checks.put("cursors returned by a function", () -> {
            try (Connection c = connect()) {
                run(c, "CREATE OR REPLACE FUNCTION jdbc_cursor() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE c refcursor; "
                        + "BEGIN OPEN c FOR SELECT generate_series(1, 5); RETURN c; END $$");
                c.setAutoCommit(false);
                try (CallableStatement s = c.prepareCall("{? = call jdbc_cursor()}")) {
                    s.registerOutParameter(1, Types.REF_CURSOR);
                    s.execute();
                    return rows((ResultSet) s.getObject(1));
                }
            }
        });
        checks.put("results that can be scrolled and updated", () -> {
            try (Connection c = connect(); Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                table(c, "jdbc_update");
                run(c, "INSERT INTO jdbc_update VALUES (1, 'a'), (2, 'b'), (3, 'c')");
                ResultSet r = s.executeQuery("SELECT id, name FROM jdbc_update ORDER BY id");
                r.absolute(2);
                r.updateString("name", "changed");
                r.updateRow();
                r.last();
                r.deleteRow();
                return ask(c, "SELECT * FROM jdbc_update ORDER BY id");
            }
        });
        checks.put("notifications", () -> {
            try (Connection one = connect(); Connection other = connect()) {
                run(one, "LISTEN jdbc_news");
                run(other, "NOTIFY jdbc_news, 'first'", "SELECT pg_notify('jdbc_news', 'second')");
                List<Object> out = new ArrayList<>();
                while (out.size() < 2) {
                    var news = one.unwrap(PGConnection.class).getNotifications(30_000);
                    if (news == null || news.length == 0) return "nothing came";
                    for (var n : news) out.add(List.of(n.getName(), n.getParameter(), n.getPID() == other.unwrap(PGConnection.class).getBackendPID()));
                }
                return out;
            }
        });
        checks.put("notices", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.execute("DO $$ BEGIN RAISE WARNING 'careful' USING HINT = 'look'; END $$");
                return s.getWarnings().getSQLState() + " " + s.getWarnings().getMessage();
            }
        });
        checks.put("cancelling", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                var timer = Executors.newSingleThreadScheduledExecutor();
                timer.schedule(() -> { s.cancel(); return null; }, 500, TimeUnit.MILLISECONDS);
                List<Object> out = new ArrayList<>();
                try {
                    s.execute("SELECT pg_sleep(60)");
                    out.add("it was not cancelled");
                } catch (SQLException e) {
                    out.add(diagnosis(e));
                }
                timer.shutdown();
                timer.awaitTermination(30, TimeUnit.SECONDS);
                out.add(ask(c, "SELECT 1"));
                return out;
            }
        });
        checks.put("query timeout", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                try {
                    s.execute("SELECT pg_sleep(60)");
                    return "it was not stopped";
                } catch (SQLException e) {
                    return List.of(diagnosis(e), c.isValid(30));
                }
            }
        });
        checks.put("statement timeout", () -> {
            try (Connection c = connect("options", "-c statement_timeout=300")) {
                try {
                    run(c, "SELECT pg_sleep(60)");
                    return "it was not stopped";
                } catch (SQLException e) {
                    return diagnosis(e);
                }
            }
        });
        for (String autosave : List.of("never", "always", "conservative"))
            checks.put("transactions with autosave " + autosave, () -> {
                try (Connection c = connect("autosave", autosave)) {
                    table(c, "jdbc_tx");
                    c.setAutoCommit(false);
                    List<Object> out = new ArrayList<>();
                    run(c, "INSERT INTO jdbc_tx VALUES (1, 'kept')");
                    Savepoint s = c.setSavepoint("sp");
                    try {
                        run(c, "INSERT INTO jdbc_tx VALUES (1, 'twice')");
                    } catch (SQLException e) {
                        out.add(diagnosis(e));
                    }
                    try {
                        out.add(ask(c, "SELECT count(*) FROM jdbc_tx"));
                    } catch (SQLException e) {
                        out.add(diagnosis(e));
                    }
                    c.rollback(s);
                    c.commit();
                    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                    c.setReadOnly(true);
                    try {
                        run(c, "INSERT INTO jdbc_tx VALUES (2, 'x')");
                    } catch (SQLException e) {
                        out.add(diagnosis(e));
                    }
                    c.rollback();
                    out.add(ask(c, "SELECT * FROM jdbc_tx"));
                    return out;
                }
            });
        checks.put("errors", () -> {
            try (Connection c = connect()) {
                List<Object> out = new ArrayList<>();
                for (String query : List.of("SELECT 1 FORM x", "SELECT nothing", "SELECT 1/0", "SELECT * FROM nowhere", "SELECT 1 WHERE 'x'")) {
                    try {
                        out.add(ask(c, query));
                    } catch (SQLException e) {
                        out.add(diagnosis(e));
                    }
                }
                return out;
            }
        });
        checks.put("metadata", () -> {
            try (Connection c = connect()) {
                table(c, "jdbc_meta");
                DatabaseMetaData m = c.getMetaData();
                List<Object> out = new ArrayList<>(List.of(m.getDatabaseProductVersion(), m.getUserName(), m.getMaxConnections()));
                List<ResultSet> results = List.of(m.getTables(null, "public", "jdbc_meta", null), m.getColumns(null, null, "jdbc_meta", null),
                        m.getPrimaryKeys(null, null, "jdbc_meta"), m.getIndexInfo(null, null, "jdbc_meta", true, false), m.getSchemas(), m.getTypeInfo(),
                        m.getFunctions(null, "pg_catalog", "lo_get"), m.getImportedKeys(null, null, "jdbc_meta"), m.getTablePrivileges(null, null, "jdbc_meta"));
                for (ResultSet r : results) out.add(rows(r));
                return out;
            }
        });
        checks.put("large objects of the client", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                LargeObjectManager m = c.unwrap(PGConnection.class).getLargeObjectAPI();
                return m.createLO(LargeObjectManager.READWRITE) > 0;
            }
        });
        checks.put("a value of sixteen megabytes", () -> {
            try (Connection c = connect()) {
                String text = "0123456789abcdef".repeat(1 << 20);
                var row = ask(c, "SELECT length(?), ?::text", text, text).get(0);
                return List.of(row.get(0), text.equals(row.get(1)));
            }
        });
    }

    public static void main(String[] args) {
        String only = System.getenv().getOrDefault("CHECK_ONLY", "");
        register();
        checks.forEach((name, check) -> {
            if (!only.isEmpty() && !List.of(only.split(",")).contains(name)) return;
            current = name;
            String saw;
            try {
                saw = "saw " + check.run();
            } catch (Exception e) {
                e.printStackTrace();
                saw = "broke " + e.getClass().getSimpleName() + ": " + String.valueOf(e.getMessage()).strip().split("\n")[0];
            }
            System.out.println((name + "\t" + saw).replace("\r", "").replace("\n", "\\n"));
        });
    }
}
