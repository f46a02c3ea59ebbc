/* Child processes and pipes on the loop. Objects are heap memory that belongs to whoever opened
 * them until the matching close; a closed object lives on by itself until libuv has let go of it
 * (and a closed child until its process group is gone). Loop thread only. */
#ifndef BK_PROCESS_H
#define BK_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"

/* --- starting -------------------------------------------------------------------------------- */

struct bk_spawn {
  const char *const *argv;
  const char *const *env; /* the whole environment, "K=V" */
  const char *cwd;        /* NULL: ours */
  int fds[3];             /* standard streams; -1 is /dev/null. Stay owned by the caller */
  bool foreground;        /* keep our process group and terminal */
};

/* Finds argv[0] along PATH of s->env, starts it in a process group of its own (unless foreground)
 * and with default signal dispositions; it is killed when the calling thread ends. All descriptors
 * above 2 are closed in it. Failing to execute is an error here, not an exit code. */
int bk_process_start(const struct bk_spawn *s, pid_t *pid, struct bk_err *err) BK_WARN_UNUSED;

/* Path of the executable `name`: searched in the colon-separated `path`, or below `cwd` (NULL: ours)
 * when the name has a slash. Caller frees; NULL with errno ENOENT or EACCES. */
char *bk_process_which(const char *name, const char *path, const char *cwd);

/* Both ends close-on-exec; -1 with errno. */
int bk_process_pipe(int fds[2]);
/* The same by a FIFO that is made at `path` for everybody to write to. */
int bk_process_fifo(const char *path, int fds[2]);

/* --- terminals ------------------------------------------------------------------------------- */

/* A pseudo-terminal: fds[0] is our end, fds[1] the one of the program in it; both close-on-exec. */
int bk_pty_open(int fds[2], struct bk_err *err) BK_WARN_UNUSED;
/* Passes what is typed at `in` to `master`, and its output to `out`, until nobody has the other end
 * open or *cancel is set. `in` is a terminal in raw mode meanwhile, and its size is passed on. Blocks:
 * for a worker thread. */
int bk_pty_relay(int master, int in, int out, const atomic_bool *cancel, struct bk_err *err) BK_WARN_UNUSED;

/* Writes a question to `out` and reads a line from `in`, which is not shown while it is typed when
 * `hide` is set: 1 a line, 0 the end of input, -1 an error or *cancel. Whatever happens, the terminal is
 * left as it was. Blocks: for a worker thread. */
int bk_tty_ask(int in, int out, const char *question, bool hide, struct bk_buf *line,
               const atomic_bool *cancel, struct bk_err *err) BK_WARN_UNUSED;

/* --- a child on the loop ---------------------------------------------------------------------- */

struct bk_child;
typedef void bk_child_fn(struct bk_child *child, void *arg);

/* Starts s; `changed` is called on the loop when the child has exited and again when it is gone. */
struct bk_child *bk_child_open(struct bk_loop *loop, const struct bk_spawn *s, bk_child_fn *changed,
                               void *arg, struct bk_err *err);
/* The same for a child that is running already (pidfd is taken over, -1: none); only the process
 * itself is signalled. */
struct bk_child *bk_child_adopt(struct bk_loop *loop, pid_t pid, int pidfd, bk_child_fn *changed,
                                void *arg);
/* The child answers to `sig` by ending everything it started: sent wherever KILL would be. */
void bk_child_set_kill(struct bk_child *child, int sig);
pid_t bk_child_pid(const struct bk_child *child);
/* Exited: wait status and seconds since the start are valid. */
bool bk_child_exited(const struct bk_child *child, int *status, double *seconds);
/* Exited and, when it was being terminated, nothing is left of its group. */
bool bk_child_gone(const struct bk_child *child);
/* Sends to the group; -1 with errno. */
int bk_child_kill(struct bk_child *child, int sig);
/* TERM to the group, KILL to what is left of it after `grace` seconds (0: KILL at once). */
void bk_child_terminate(struct bk_child *child, double grace);
/* Terminates after `seconds`; bk_child_timed_out tells. */
void bk_child_limit(struct bk_child *child, double seconds, double grace);
bool bk_child_timed_out(const struct bk_child *child);
/* Lets go; terminates a child that still runs. NULL is fine. */
void bk_child_close(struct bk_child *child);

#define BK_CHILD_GRACE 10.0

/* --- pipes ------------------------------------------------------------------------------------ */

struct bk_reader;
typedef void bk_reader_fn(struct bk_reader *r, void *arg);

/* Takes fd over, also on failure. Reads ahead up to a bound; `changed` is called on new data, at the
 * end and on errors. */
struct bk_reader *bk_reader_open(struct bk_loop *loop, int fd, bk_reader_fn *changed, void *arg,
                                 struct bk_err *err);
/* Unread bytes; valid until the next call for r or turn of the loop. */
const char *bk_reader_data(const struct bk_reader *r, size_t *len);
void bk_reader_consume(struct bk_reader *r, size_t n);
/* Length of the next line without its end, and in *step how much to consume; -1: none yet. A line
 * longer than BK_LINE_MAX comes in pieces; the last one may lack its newline. */
ssize_t bk_reader_line(const struct bk_reader *r, size_t *step);
/* No more data will arrive: 0 at the end of the stream, an errno, or -1 while it is open. */
int bk_reader_end(const struct bk_reader *r);
void bk_reader_close(struct bk_reader *r);

#define BK_LINE_MAX 65536

struct bk_writer;
typedef void bk_writer_fn(struct bk_writer *w, void *arg);

/* Takes fd over, also on failure. `changed`: everything is written, or writing failed. */
struct bk_writer *bk_writer_open(struct bk_loop *loop, int fd, bk_writer_fn *changed, void *arg,
                                 struct bk_err *err);
void bk_writer_put(struct bk_writer *w, const void *p, size_t n); /* copies */
size_t bk_writer_pending(const struct bk_writer *w);
int bk_writer_error(const struct bk_writer *w); /* errno or 0 */
void bk_writer_close(struct bk_writer *w);      /* drops what is pending */

#endif
