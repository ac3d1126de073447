// Command client drives pgx through every way it has of running a query.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const failing = "select 1 / (n - 1) from numbers where n = 1"

var run = os.Getenv("RUN")

type behaviour struct {
	name string
	run  func(context.Context) (any, error)
}

func main() {
	chosen := os.Args[1:]
	for _, each := range behaviours() {
		if len(chosen) > 0 && !slices.Contains(chosen, each.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		saw, err := each.run(ctx)
		cancel()
		line := map[string]any{"behaviour": each.name, "saw": saw}
		if err != nil { // one behaviour that fails must not hide the others
			line = map[string]any{"behaviour": each.name, "failed": err.Error()}
		}
		text, err := json.Marshal(line)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}

func behaviours() []behaviour {
	all := []behaviour{
		{"connect", connects},
		{"direct tls", directTLS},
		{"parameters", parameters},
		{"prepared", prepared},
		{"pipeline", pipeline},
		{"pipeline with an error", pipelineWithAnError},
		{"batch", batch},
		{"rollback", rollback},
		{"savepoint", savepoint},
		{"error in transaction", errorInTransaction},
		{"denied", denied},
		{"denied in transaction", deniedInTransaction},
		{"denied in batch", deniedInBatch},
		{"several statements", severalStatements},
		{"fetch size", fetchSize},
		{"copy out", copyOut},
		{"copy in", copyIn},
		{"notify", notify},
		{"masked", masked},
		{"cancel", cancelled},
		{"types", types},
	}
	for _, mode := range modes() {
		all = append(all, behaviour{"parameters by " + mode.String(), func(ctx context.Context) (any, error) {
			return parametersBy(ctx, mode)
		}})
	}
	return all
}

func modes() []pgx.QueryExecMode {
	return []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement,
		pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol,
	}
}

// connect leaves everything to libpq's environment variables.
func connect(ctx context.Context, options ...string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, strings.Join(append(options, "sslmode=verify-full"), " "))
}

func with(ctx context.Context, do func(*pgx.Conn) (any, error)) (any, error) {
	c, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	return do(c)
}

func one[T any](ctx context.Context, c *pgx.Conn, query string, arguments ...any) (T, error) {
	var value T
	err := c.QueryRow(ctx, query, arguments...).Scan(&value)
	return value, err
}

// refused is the SQLSTATE of a command that must fail.
func refused(ctx context.Context, c *pgx.Conn, command string, arguments ...any) string {
	_, err := c.Exec(ctx, command, arguments...)
	return state(err)
}

func state(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return fmt.Sprint(err)
}

func rows(found pgx.Rows, err error) ([][]any, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
}

func connects(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		name, err := one[string](ctx, c, "select current_database()")
		return []any{name, true}, err
	})
}

func directTLS(ctx context.Context) (any, error) {
	c, err := connect(ctx, "sslnegotiation=direct")
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	name, err := one[string](ctx, c, "select current_database()")
	return []any{name, true}, err
}

func parameters(ctx context.Context) (any, error) {
	return parametersBy(ctx, pgx.QueryExecModeCacheStatement)
}

func parametersBy(ctx context.Context, mode pgx.QueryExecMode) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		query := "select name from parts where id = $1 and price < $2"
		first, err := one[string](ctx, c, query, mode, 2, 0.75)
		if err != nil {
			return nil, err
		}
		second, err := one[string](ctx, c, query, mode, 1, 0.75)
		return []any{first, second}, err
	})
}

func prepared(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		if _, err := c.Prepare(ctx, "by id", "select name from parts where id = $1"); err != nil {
			return nil, err
		}
		seen := []string{}
		for _, id := range []int{1, 2, 3} {
			name, err := one[string](ctx, c, "by id", id)
			if err != nil {
				return nil, err
			}
			seen = append(seen, name)
		}
		return seen, c.Deallocate(ctx, "by id")
	})
}

func pipeline(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		sum := 0
		queries := &pgx.Batch{}
		for n := range 50 {
			queries.Queue("select n from numbers where n = $1", n+1).QueryRow(func(row pgx.Row) error {
				var value int
				err := row.Scan(&value)
				sum += value
				return err
			})
		}
		err := c.SendBatch(ctx, queries).Close()
		return sum, err
	})
}

// pipelineWithAnError uses a pipeline with several Syncs, the middle one of which fails.
func pipelineWithAnError(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		p := c.PgConn().StartPipeline(ctx)
		for _, query := range []string{"select 1", failing, "select 2"} {
			p.SendQueryParams(query, nil, nil, nil, nil)
			if err := p.Sync(); err != nil {
				return nil, err
			}
		}
		seen := []any{}
		for {
			results, err := p.GetResults()
			if err != nil {
				return nil, err
			}
			if results == nil {
				break
			}
			if reader, ok := results.(*pgconn.ResultReader); ok {
				result := reader.Read()
				if result.Err != nil {
					seen = append(seen, state(result.Err))
				} else {
					seen = append(seen, string(result.Rows[0][0]))
				}
			}
		}
		if err := p.Close(); err != nil {
			return nil, err
		}
		last, err := one[int](ctx, c, "select 3")
		return append(seen, last), err
	})
}

func batch(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		inserts := &pgx.Batch{}
		for n := range 100 {
			inserts.Queue("insert into deliveries (run, n) values ($1, $2)", run+"batch", n+1)
		}
		if err := c.SendBatch(ctx, inserts).Close(); err != nil {
			return nil, err
		}
		found, err := rows(c.Query(ctx, "select count(*), sum(n) from deliveries where run = $1", run+"batch"))
		if err != nil {
			return nil, err
		}
		return found[0], nil
	})
}

func rollback(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		seen := []any{}
		count := func() error {
			n, err := one[int](ctx, c, "select count(*) from deliveries where run = $1", run+"rollback")
			seen = append(seen, n)
			return err
		}
		transaction, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			return nil, err
		}
		before := count()
		_, insert := c.Exec(ctx, "insert into deliveries (run, n) values ($1, 1)", run+"rollback")
		inside := count()
		undone := transaction.Rollback(ctx)
		after := count()
		return seen, errors.Join(before, insert, inside, undone, after)
	})
}

func savepoint(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		transaction, err := c.Begin(ctx)
		if err != nil {
			return nil, err
		}
		inner, err := transaction.Begin(ctx)
		if err != nil {
			return nil, err
		}
		seen := refused(ctx, c, failing)
		if err := inner.Rollback(ctx); err != nil {
			return nil, err
		}
		last, err := one[int](ctx, c, "select 2")
		return []any{seen, last}, errors.Join(err, transaction.Commit(ctx))
	})
}

func errorInTransaction(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		transaction, err := c.Begin(ctx)
		if err != nil {
			return nil, err
		}
		first, second := refused(ctx, c, failing), refused(ctx, c, "select 1")
		if err := transaction.Rollback(ctx); err != nil {
			return nil, err
		}
		last, err := one[int](ctx, c, "select 1")
		return []any{first, second, last}, err
	})
}

func denied(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		first := refused(ctx, c, "drop table keepsakes")
		second := refused(ctx, c, "drop table keepsakes", pgx.QueryExecModeSimpleProtocol)
		last, err := one[int](ctx, c, "select count(*) from keepsakes")
		return []any{first, second, last}, err
	})
}

func deniedInTransaction(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		transaction, err := c.Begin(ctx)
		if err != nil {
			return nil, err
		}
		seen := refused(ctx, c, "drop table keepsakes")
		if err := transaction.Rollback(ctx); err != nil {
			return nil, err
		}
		last, err := one[int](ctx, c, "select 1")
		return []any{seen, last}, err
	})
}

// deniedInBatch sends the refused command between two others with one Sync: none of the three may take effect.
func deniedInBatch(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		commands := &pgx.Batch{}
		insert := "insert into deliveries (run, n) values ($1, $2)"
		commands.Queue(insert, run+"denied", 1)
		commands.Queue("drop table keepsakes")
		commands.Queue(insert, run+"denied", 2)
		seen := state(c.SendBatch(ctx, commands).Close())
		count, err := one[int](ctx, c, "select count(*) from deliveries where run = $1", run+"denied")
		return []any{seen, count}, err
	})
}

func severalStatements(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		results, err := c.PgConn().Exec(ctx, "select 1; select 2; select 3").ReadAll()
		if err != nil {
			return nil, err
		}
		seen := []json.RawMessage{}
		for _, result := range results {
			seen = append(seen, result.Rows[0][0])
		}
		return seen, nil
	})
}

func fetchSize(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		transaction, err := c.Begin(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := transaction.Exec(ctx, "declare rows cursor for select n from numbers order by n"); err != nil {
			return nil, err
		}
		count, sum := 0, 0
		for {
			found, err := rows(transaction.Query(ctx, "fetch 100 from rows"))
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return []any{count, sum}, transaction.Commit(ctx)
			}
			for _, row := range found {
				count, sum = count+1, sum+int(row[0].(int32))
			}
		}
	})
}

func copyOut(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		var out bytes.Buffer
		_, err := c.PgConn().CopyTo(ctx, &out, "copy (select id, name from parts order by id) to stdout")
		return out.String(), err
	})
}

func copyIn(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		source := [][]any{{run + "copy", 10, "a"}, {run + "copy", 20, nil}, {run + "copy", 30, "c"}}
		count, err := c.CopyFrom(ctx, pgx.Identifier{"deliveries"}, []string{"run", "n", "note"}, pgx.CopyFromRows(source))
		if err != nil {
			return nil, err
		}
		sum, err := one[int](ctx, c, "select sum(n) from deliveries where run = $1", run+"copy")
		return []any{count, sum}, err
	})
}

func notify(ctx context.Context) (any, error) {
	return with(ctx, func(listener *pgx.Conn) (any, error) {
		channel := pgx.Identifier{run}.Sanitize()
		if _, err := listener.Exec(ctx, "listen "+channel); err != nil {
			return nil, err
		}
		_, err := with(ctx, func(sender *pgx.Conn) (any, error) {
			return sender.Exec(ctx, "notify "+channel+", 'hello'")
		})
		if err != nil {
			return nil, err
		}
		heard, err := listener.WaitForNotification(ctx)
		if err != nil {
			return nil, err
		}
		return []any{heard.Payload}, nil
	})
}

func masked(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		query := "select id, supplier_email from parts order by id"
		text, err := rows(c.Query(ctx, query, pgx.QueryExecModeSimpleProtocol))
		if err != nil {
			return nil, err
		}
		binary, err := rows(c.Query(ctx, query))
		if err != nil {
			return nil, err
		}
		var copied bytes.Buffer
		_, err = c.PgConn().CopyTo(ctx, &copied, "copy ("+query+") to stdout")
		return map[string]any{"text": text, "binary": binary, "copy": copied.String()}, err
	})
}

func cancelled(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		failure := make(chan error)
		go func() {
			time.Sleep(500 * time.Millisecond)
			failure <- c.PgConn().CancelRequest(ctx)
		}()
		started := time.Now()
		seen := refused(ctx, c, "select pg_sleep(10)")
		inTime := time.Since(started) < 8*time.Second
		if err := <-failure; err != nil {
			return nil, err
		}
		last, err := one[int](ctx, c, "select 1")
		return []any{seen, inTime, last}, err
	})
}

func types(ctx context.Context) (any, error) {
	return with(ctx, func(c *pgx.Conn) (any, error) {
		seen := map[string]any{}
		forms := map[string]pgx.QueryExecMode{"text": pgx.QueryExecModeSimpleProtocol, "binary": pgx.QueryExecModeCacheStatement}
		for form, mode := range forms {
			for id := range 3 {
				found, err := rows(c.Query(ctx, "select * from every_type where id = $1", mode, id+1))
				if err != nil {
					return nil, err
				}
				values := []string{}
				for _, value := range found[0] {
					values = append(values, fmt.Sprintf("%T %v", value, value))
				}
				seen[fmt.Sprintf("%s %d", form, id+1)] = values
			}
		}
		return seen, nil
	})
}
