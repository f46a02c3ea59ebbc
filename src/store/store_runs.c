/* Run history in runs.db. Nothing depends on it: a database that cannot be read is an error of
 * these two calls only. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/store_int.h"

static int failed(struct bk_store *s, sqlite3 *db, const char *what, struct bk_err *err) {
  int rc = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
  bool infra = rc == SQLITE_FULL || rc == SQLITE_BUSY || rc == SQLITE_IOERR;
  const char *code = rc == SQLITE_FULL ? "ENOSPC" : "store.history";
  return bk_fail(err, infra ? BK_INFRA : BK_BUILD, code, "%s run history '%s/runs.db': %s", what,
                 s->dir, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

/* Caller holds the mutex. */
static sqlite3 *open_db(struct bk_store *s, struct bk_err *err) {
  if (s->db) return s->db;
  cleanup_free char *path = bk_asprintf("%s/runs.db", s->dir);
  sqlite3 *db = NULL;
  static const char setup[] =
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
      "CREATE TABLE IF NOT EXISTS runs(id INTEGER PRIMARY KEY, started REAL NOT NULL,"
      " seconds REAL NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, data TEXT NOT NULL);"
      "CREATE INDEX IF NOT EXISTS runs_by_start ON runs(started);"
      "CREATE INDEX IF NOT EXISTS runs_by_name ON runs(name, started);";
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &db, flags, NULL) || sqlite3_busy_timeout(db, 10000) ||
      sqlite3_exec(db, setup, NULL, NULL, NULL)) {
    failed(s, db, "open", err);
    sqlite3_close_v2(db);
    return NULL;
  }
  return s->db = db;
}

void bk_store_close_db(struct bk_store *s) {
  sqlite3_close_v2(s->db);
  s->db = NULL;
}

static int insert(struct bk_store *s, sqlite3 *db, double started, double seconds,
                  const char *name, const char *status, const char *data, size_t n, int64_t *id,
                  struct bk_err *err) {
  sqlite3_stmt *st = NULL;
  static const char sql[] = "INSERT INTO runs(started,seconds,name,status,data) VALUES(?,?,?,?,?)";
  int rc = -1;
  if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
    sqlite3_bind_double(st, 1, started);
    sqlite3_bind_double(st, 2, seconds);
    sqlite3_bind_text(st, 3, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, status, -1, SQLITE_STATIC);
    sqlite3_bind_text64(st, 5, data, n, SQLITE_STATIC, SQLITE_UTF8);
    if (sqlite3_step(st) == SQLITE_DONE) rc = 0;
  }
  if (rc) failed(s, db, "write", err);
  else *id = sqlite3_last_insert_rowid(db);
  sqlite3_finalize(st);
  return rc;
}

int bk_store_record_run(struct bk_store *s, double started, double seconds, const char *name,
                        const char *status, const char *data, size_t n, int64_t *id,
                        struct bk_err *err) {
  pthread_mutex_lock(&s->mutex);
  sqlite3 *db = open_db(s, err);
  int rc = db ? insert(s, db, started, seconds, name, status, data, n, id, err) : -1;
  pthread_mutex_unlock(&s->mutex);
  return rc;
}

int bk_store_runs(struct bk_store *s, const char *name, double since, int limit,
                  int (*f)(void *ud, int64_t id, const char *data, size_t n), void *ud,
                  struct bk_err *err) {
  static const char sql[] = "SELECT id, data FROM runs WHERE (?1 IS NULL OR name = ?1)"
                            " AND started >= ?2 ORDER BY started DESC, id DESC LIMIT ?3";
  pthread_mutex_lock(&s->mutex);
  sqlite3 *db = open_db(s, err);
  sqlite3_stmt *st = NULL;
  int rc = -1;
  if (db && sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
    int step;
    if (name) sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_double(st, 2, since);
    sqlite3_bind_int(st, 3, limit);
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
      const char *data = (const char *)sqlite3_column_text(st, 1);
      if (f(ud, sqlite3_column_int64(st, 0), data ? data : "",
            (size_t)sqlite3_column_bytes(st, 1)))
        break;
    }
    rc = step == SQLITE_ROW || step == SQLITE_DONE ? 0 : -1;
  }
  if (db && rc) failed(s, db, "read", err);
  sqlite3_finalize(st);
  pthread_mutex_unlock(&s->mutex);
  return rc;
}
