#!/bin/sh
# Run once by PostgreSQL's image, in an empty database: the roles that the gateway logs in as, and something to read.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
    --set "readonly=$(cat /secrets/readonly)" --set "app=$(cat /secrets/app)" <<'SQL'
CREATE ROLE orders_readonly LOGIN PASSWORD :'readonly';
CREATE ROLE orders_app LOGIN PASSWORD :'app';
CREATE TABLE users (id int PRIMARY KEY, name text, email text);
CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, item text);
INSERT INTO users VALUES (1, 'Ada', 'ada@example.com'), (2, 'Grace', 'grace@example.com');
INSERT INTO orders VALUES (1, 1, 'tea'), (2, 2, 'coffee');
GRANT SELECT ON ALL TABLES IN SCHEMA public TO orders_readonly, orders_app;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO orders_app;
SQL
