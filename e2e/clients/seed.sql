-- What every client finds: run once, as the owner of the database.
CREATE TABLE parts (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price numeric(10, 2) NOT NULL,
    supplier_email text
);
INSERT INTO parts VALUES
    (1, 'bolt', 0.25, 'ann@bolts.example'),
    (2, 'nut', 0.50, 'bob@nuts.example'),
    (3, 'washer', 1.75, NULL);

CREATE TABLE numbers (n integer PRIMARY KEY);
INSERT INTO numbers SELECT generate_series(1, 1000);

-- Each client writes rows of its own `run`.
CREATE TABLE deliveries (run text NOT NULL, n integer NOT NULL, note text);

-- Nobody may drop it.
CREATE TABLE keepsakes (id integer PRIMARY KEY);

CREATE TABLE every_type (
    id integer PRIMARY KEY,
    a_boolean boolean,
    a_smallint smallint,
    a_bigint bigint,
    a_real real,
    a_double double precision,
    a_numeric numeric,
    a_text text,
    a_varchar varchar(20),
    a_bytea bytea,
    a_json json,
    a_jsonb jsonb,
    a_uuid uuid,
    a_date date,
    a_timestamp timestamp,
    a_timestamptz timestamptz,
    an_interval interval,
    an_inet inet,
    integers integer[],
    texts text[],
    a_point point
);
INSERT INTO every_type VALUES
    (1, true, -32768, 9223372036854775807, 0.5, -1e300, 12345678901234567890.123456789,
     E'tab\tnewline\nquote''backslash\\ ünïcödé 日本', 'varchar', '\x00ff10deadbeef', '{"b": 1, "a": [1, 2, null]}',
     '{"b": 1, "a": [1, 2, null]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2024-02-29', '2024-02-29 23:59:59.123456',
     '2024-02-29 23:59:59.123456+02', '1 day 02:03:04', '192.0.2.1', '{1,NULL,3}', '{"a,b","NULL",NULL,""}', '(1.5,-2)'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL),
    (3, false, 0, 0, 'NaN', 'Infinity', 'NaN', '', '', '', '[]', '[]', '00000000-0000-0000-0000-000000000000',
     '0001-01-01', '1999-12-31 00:00:00', '1999-12-31 00:00:00+00', '-1 month', '2001:db8::/32', '{}', '{}', '(0,0)');
