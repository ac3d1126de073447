import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/** pgJDBC: the extended protocol with statements that become server-side ones at their fifth use, and its batches. */
final class Client {
    private static final String RUN = System.getenv("RUN");
    private static final String FAILING = "select 1 / (n - 1) from numbers where n = 1";

    private interface Behaviour {
        Object run() throws Exception;
    }

    /** Properties as pairs of name and value. */
    private static Connection connect(String... more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        properties.setProperty("loginTimeout", "15");
        for (int i = 0; i < more.length; i += 2) {
            properties.setProperty(more[i], more[i + 1]);
        }
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    private static Object one(Connection c, String query, Object... arguments) throws SQLException {
        try (PreparedStatement statement = c.prepareStatement(query)) {
            for (int i = 0; i < arguments.length; i++) {
                statement.setObject(i + 1, arguments[i]);
            }
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    private static List<Object> rows(ResultSet rows) throws SQLException {
        List<Object> all = new ArrayList<>();
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= columns; i++) {
                row.add(rows.getObject(i));
            }
            all.add(row);
        }
        return all;
    }

    private static String refused(Connection c, String query) {
        try (Statement statement = c.createStatement()) {
            statement.execute(query);
            return "no error";
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    private static void execute(Connection c, String command) throws SQLException {
        try (Statement statement = c.createStatement()) {
            statement.execute(command);
        }
    }

    private static Object connects(String... more) throws SQLException {
        try (Connection c = connect(more)) {
            return List.of(one(c, "select current_database()"), true);
        }
    }

    private static Object select(String... more) throws SQLException {
        try (Connection c = connect(more); Statement s = c.createStatement();
                ResultSet found = s.executeQuery("select id, name from parts order by id")) {
            return rows(found);
        }
    }

    private static Object parameters() throws SQLException {
        try (Connection c = connect()) {
            String query = "select name from parts where id = ? and price < ?";
            return List.of(one(c, query, 2, 0.75), one(c, query, 1, 0.75));
        }
    }

    private static Object prepared(String... more) throws SQLException {
        try (Connection c = connect(more);
                PreparedStatement s = c.prepareStatement("select name from parts where id = ?")) {
            List<Object> seen = new ArrayList<>();
            for (int id = 1; id <= 3; id++) {
                s.setInt(1, id);
                try (ResultSet found = s.executeQuery()) {
                    found.next();
                    seen.add(found.getString(1));
                }
            }
            return seen;
        }
    }

    /** Unnamed at first, a server-side statement with binary results from the threshold on. */
    private static Object preparedByThreshold() throws SQLException {
        try (Connection c = connect("prepareThreshold", "3");
                PreparedStatement s = c.prepareStatement("select n from numbers where n = ?")) {
            List<Object> seen = new ArrayList<>();
            for (int n = 1; n <= 7; n++) {
                s.setInt(1, n);
                try (ResultSet found = s.executeQuery()) {
                    found.next();
                    seen.add(found.getInt(1));
                }
            }
            return seen;
        }
    }

    private static Object batch(String rewritten) throws SQLException {
        String run = RUN + "batch" + rewritten;
        try (Connection c = connect("reWriteBatchedInserts", rewritten)) {
            try (PreparedStatement s = c.prepareStatement("insert into deliveries (run, n) values (?, ?)")) {
                for (int n = 1; n <= 100; n++) {
                    s.setString(1, run);
                    s.setInt(2, n);
                    s.addBatch();
                }
                s.executeBatch();
            }
            try (PreparedStatement s = c.prepareStatement("select count(*), sum(n) from deliveries where run = ?")) {
                s.setString(1, run);
                try (ResultSet found = s.executeQuery()) {
                    return rows(found).get(0);
                }
            }
        }
    }

    /** A batch of statements without parameters. */
    private static Object batchOfStatements() throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            String run = RUN + "statements";
            for (int n = 1; n <= 3; n++) {
                s.addBatch("insert into deliveries (run, n) values ('" + run + "', " + n + ")");
            }
            int[] counts = s.executeBatch();
            return List.of(counts.length, one(c, "select count(*) from deliveries where run = ?", run));
        }
    }

    private static Object generatedKeys() throws SQLException {
        try (Connection c = connect(); PreparedStatement s =
                c.prepareStatement("insert into deliveries (run, n) values (?, 1)", new String[] {"n"})) {
            s.setString(1, RUN + "keys");
            s.executeUpdate();
            try (ResultSet keys = s.getGeneratedKeys()) {
                return rows(keys);
            }
        }
    }

    private static Object rollback() throws SQLException {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            String count = "select count(*) from deliveries where run = ?";
            String run = RUN + "rollback";
            Object before = one(c, count, run);
            execute(c, "insert into deliveries (run, n) values ('" + run + "', 1)");
            Object inside = one(c, count, run);
            c.rollback();
            return List.of(before, inside, one(c, count, run));
        }
    }

    private static Object savepoint() throws SQLException {
        try (Connection c = connect("autosave", "always")) {
            c.setAutoCommit(false);
            execute(c, "select 1");
            String seen = refused(c, FAILING);
            return List.of(seen, one(c, "select 2"));
        }
    }

    private static Object errorInTransaction() throws SQLException {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            String first = refused(c, FAILING);
            String second = refused(c, "select 1");
            c.rollback();
            return List.of(first, second, one(c, "select 1"));
        }
    }

    private static Object denied() throws SQLException {
        try (Connection c = connect()) {
            String first = refused(c, "drop table keepsakes");
            String second = refused(c, "drop table keepsakes");
            return List.of(first, second, one(c, "select count(*) from keepsakes"));
        }
    }

    private static Object deniedInTransaction() throws SQLException {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            execute(c, "select 1");
            String seen = refused(c, "drop table keepsakes");
            c.rollback();
            return List.of(seen, one(c, "select 1"));
        }
    }

    private static Object deniedInBatch() throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.addBatch("insert into deliveries (run, n) values ('" + RUN + "denied', 1)");
            s.addBatch("drop table keepsakes");
            s.addBatch("insert into deliveries (run, n) values ('" + RUN + "denied', 2)");
            String seen = "no error";
            try {
                s.executeBatch();
            } catch (SQLException error) {
                seen = error.getSQLState();
            }
            return List.of(seen, one(c, "select count(*) from keepsakes"));
        }
    }

    private static Object severalStatements(String... more) throws SQLException {
        try (Connection c = connect(more); Statement s = c.createStatement()) {
            List<Object> seen = new ArrayList<>();
            for (boolean result = s.execute("select 1; select 2; select 3"); result; result = s.getMoreResults()) {
                try (ResultSet found = s.getResultSet()) {
                    found.next();
                    seen.add(found.getInt(1));
                }
            }
            return seen;
        }
    }

    /** Portals that suspend: ten rows for each Execute. */
    private static Object fetchSize() throws SQLException {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) {
                s.setFetchSize(10);
                long count = 0;
                long sum = 0;
                try (ResultSet found = s.executeQuery("select n from numbers order by n")) {
                    while (found.next()) {
                        count++;
                        sum += found.getInt(1);
                    }
                }
                c.commit();
                return List.of(count, sum);
            }
        }
    }

    private static Object copyOut(String query) throws Exception {
        try (Connection c = connect()) {
            StringWriter out = new StringWriter();
            c.unwrap(PGConnection.class).getCopyAPI().copyOut("copy (" + query + ") to stdout", out);
            return out.toString();
        }
    }

    private static Object copyIn() throws Exception {
        try (Connection c = connect()) {
            String run = RUN + "copy";
            String rows = run + "\t10\ta\n" + run + "\t20\t\\N\n" + run + "\t30\tc\n";
            long count = c.unwrap(PGConnection.class).getCopyAPI()
                .copyIn("copy deliveries (run, n, note) from stdin", new StringReader(rows));
            return List.of(count, one(c, "select sum(n) from deliveries where run = ?", run));
        }
    }

    private static Object notifies() throws SQLException {
        try (Connection listener = connect(); Connection sender = connect()) {
            execute(listener, "listen \"" + RUN + "\"");
            execute(sender, "notify \"" + RUN + "\", 'hello'");
            PGNotification[] heard = listener.unwrap(PGConnection.class).getNotifications(10_000);
            List<Object> seen = new ArrayList<>();
            for (PGNotification notification : heard) {
                seen.add(notification.getParameter());
            }
            return seen;
        }
    }

    private static Object masked() throws Exception {
        String query = "select id, supplier_email from parts order by id";
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("text", select(query, "binaryTransfer", "false"));
        seen.put("binary", select(query, "prepareThreshold", "-1"));
        seen.put("copy", copyOut(query));
        return seen;
    }

    private static Object select(String query, String option, String value) throws SQLException {
        try (Connection c = connect(option, value); PreparedStatement s = c.prepareStatement(query);
                ResultSet found = s.executeQuery()) {
            return rows(found);
        }
    }

    private static Object cancel() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            long started = System.nanoTime();
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    s.cancel();
                } catch (InterruptedException | SQLException error) {
                    System.err.println(error);
                }
            });
            canceller.start();
            String seen = "no error";
            try {
                s.execute("select pg_sleep(10)");
            } catch (SQLException error) {
                seen = error.getSQLState();
            }
            canceller.join();
            return List.of(seen, System.nanoTime() - started < 8_000_000_000L, one(c, "select 1"));
        }
    }

    private static Object types() throws SQLException {
        Map<String, Object> seen = new LinkedHashMap<>();
        for (String form : List.of("text", "binary")) {
            String threshold = form.equals("binary") ? "-1" : "0";
            try (Connection c = connect("prepareThreshold", threshold);
                    PreparedStatement s = c.prepareStatement("select * from every_type where id = ?")) {
                for (int id = 1; id <= 3; id++) {
                    s.setInt(1, id);
                    List<Object> row = new ArrayList<>();
                    try (ResultSet found = s.executeQuery()) {
                        found.next();
                        for (int i = 1; i <= found.getMetaData().getColumnCount(); i++) {
                            Object value = found.getObject(i);
                            row.add(value instanceof byte[] bytes ? Arrays.toString(bytes) : found.getString(i));
                        }
                    }
                    seen.put(form + " " + id, row);
                }
            }
        }
        return seen;
    }

    /** What tools ask of a database: long queries on the catalogue. */
    private static Object metadata() throws SQLException {
        try (Connection c = connect()) {
            List<Object> seen = new ArrayList<>();
            try (ResultSet columns = c.getMetaData().getColumns(null, "public", "parts", "%")) {
                while (columns.next()) {
                    seen.add(columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
                }
            }
            try (ResultSet keys = c.getMetaData().getPrimaryKeys(null, "public", "parts")) {
                while (keys.next()) {
                    seen.add(keys.getString("COLUMN_NAME"));
                }
            }
            return seen;
        }
    }

    private static Object settings() throws SQLException {
        try (Connection c = connect()) {
            c.setReadOnly(true);
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            boolean valid = c.isValid(5);
            return List.of(valid, one(c, "select 1"));
        }
    }

    private static Map<String, Behaviour> behaviours() {
        Map<String, Behaviour> all = new LinkedHashMap<>();
        all.put("connect", Client::connects);
        all.put("direct tls", () -> connects("sslNegotiation", "direct"));
        all.put("select", Client::select);
        all.put("select by simple protocol", () -> select("preferQueryMode", "simple"));
        all.put("parameters", Client::parameters);
        all.put("prepared", Client::prepared);
        all.put("prepared by simple protocol", () -> prepared("preferQueryMode", "simple"));
        all.put("prepared at once", () -> prepared("prepareThreshold", "-1"));
        all.put("prepared by threshold", Client::preparedByThreshold);
        all.put("batch", () -> batch("false"));
        all.put("batch rewritten", () -> batch("true"));
        all.put("batch of statements", Client::batchOfStatements);
        all.put("generated keys", Client::generatedKeys);
        all.put("rollback", Client::rollback);
        all.put("savepoint", Client::savepoint);
        all.put("error in transaction", Client::errorInTransaction);
        all.put("denied", Client::denied);
        all.put("denied in transaction", Client::deniedInTransaction);
        all.put("denied in batch", Client::deniedInBatch);
        all.put("several statements", Client::severalStatements);
        all.put("several statements by simple protocol", () -> severalStatements("preferQueryMode", "simple"));
        all.put("fetch size", Client::fetchSize);
        all.put("copy out", () -> copyOut("select id, name from parts order by id"));
        all.put("copy in", Client::copyIn);
        all.put("notify", Client::notifies);
        all.put("masked", Client::masked);
        all.put("cancel", Client::cancel);
        all.put("types", Client::types);
        all.put("metadata", Client::metadata);
        all.put("settings", Client::settings);
        return all;
    }

    public static void main(String[] arguments) {
        Set<String> chosen = Set.of(arguments);
        for (Map.Entry<String, Behaviour> entry : behaviours().entrySet()) {
            if (!chosen.isEmpty() && !chosen.contains(entry.getKey())) {
                continue;
            }
            String outcome;
            try {
                outcome = "\"saw\":" + json(entry.getValue().run());
            } catch (Exception error) { // one behaviour that fails must not hide the others
                outcome = "\"failed\":" + json(error.toString());
            }
            System.out.println("{\"behaviour\":" + json(entry.getKey()) + "," + outcome + "}");
        }
    }

    private static String json(Object value) {
        if (value instanceof Map<?, ?> map) {
            List<String> members = new ArrayList<>();
            map.forEach((key, member) -> members.add(json(key) + ":" + json(member)));
            return "{" + String.join(",", members) + "}";
        }
        if (value instanceof List<?> list) {
            return "[" + String.join(",", list.stream().map(Client::json).toList()) + "]";
        }
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return String.valueOf(value);
        }
        StringBuilder text = new StringBuilder("\"");
        for (char c : value.toString().toCharArray()) {
            if (c == '"' || c == '\\' || c < ' ') {
                text.append(String.format("\\u%04x", (int) c));
            } else {
                text.append(c);
            }
        }
        return text.append('"').toString();
    }
}
