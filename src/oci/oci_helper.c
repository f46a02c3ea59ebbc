/* Docker's credential helper protocol: docker-credential-SUFFIX get|store|erase|list, what it is about
 * on stdin, JSON on stdout. No shell; a helper that hangs is killed with its process group. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/mem.h"
#include "oci/oci_int.h"

#define TIMEOUT_S 45

static bool plain_suffix(const char *s) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return *s && *s != '-' && strlen(s) < 64 && !s[strspn(s, plain)];
}

static int start(const char *program, const char *action, int in, int out, pid_t *pid) {
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawn_file_actions_init(&fa);
  posix_spawn_file_actions_adddup2(&fa, in, 0);
  posix_spawn_file_actions_adddup2(&fa, out, 1);
  posix_spawnattr_init(&at);
  posix_spawnattr_setpgroup(&at, 0);
  posix_spawnattr_setsigmask(&at, &none);
  posix_spawnattr_setsigdefault(&at, &usual);
  posix_spawnattr_setflags(
      &at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  char *const argv[] = {(char *)program, (char *)action, NULL};
  int rc = posix_spawnp(pid, program, &fa, &at, argv, environ);
  posix_spawnattr_destroy(&at);
  posix_spawn_file_actions_destroy(&fa);
  return rc;
}

/* Reads until the helper closes its end; false on timeout or cancellation. */
static bool read_answer(int fd, struct bk_buf *out, const atomic_bool *cancel) {
  time_t end = oci_now() + TIMEOUT_S;
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (oci_now() >= end || (cancel && atomic_load(cancel))) return false;
    int n = poll(&p, 1, 200);
    if (n <= 0) continue;
    char text[4096];
    ssize_t k = read(fd, text, sizeof text);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return k == 0;
    bk_buf_add(out, text, (size_t)k);
    if (out->overflow) return false;
  }
}

static bool knows_nothing(const struct bk_buf *text) {
  return text->p && (strstr(text->p, "credentials not found") ||
                     strstr(text->p, "no credentials server URL") ||
                     strstr(text->p, "no credentials username"));
}

/* What a failing helper prints may contain secrets: only its status is told. */
static int failed(const char *program, int status, struct bk_err *err) {
  return WIFEXITED(status)
             ? bk_fail(err, BK_INFRA, "oci.helper", "%s failed with exit code %d", program,
                       WEXITSTATUS(status))
             : bk_fail(err, BK_INFRA, "oci.helper", "%s was killed by signal %d", program,
                       WTERMSIG(status));
}

static int understand(const char *program, const struct bk_buf *text, struct oci_cred *out,
                      struct bk_err *err) {
  json_t *doc = oci_json_secret(text->p ? text->p : "", text->len, program, err);
  if (!doc) return -1;
  const char *user = oci_json_str(doc, "Username"), *secret = oci_json_str(doc, "Secret");
  int rc = secret && *secret;
  if (rc && user && strcmp(user, "<token>") == 0) {
    out->identity_token = bk_strdup(secret);
  } else if (rc) {
    out->username = bk_strdup(user ? user : "");
    out->password = bk_strdup(secret);
  }
  json_decref(doc);
  return rc;
}

/* The request as a file: writing to a pipe that the helper has closed would raise SIGPIPE. */
static int request_file(const char *server) {
  int fd = memfd_create("credential-request", MFD_CLOEXEC);
  if (fd < 0) return -1;
  if (bk_write_all(fd, server, strlen(server)) == 0 && lseek(fd, 0, SEEK_SET) == 0) return fd;
  close(fd);
  return -1;
}

static int talk(const char *program, const char *action, const char *request,
                struct bk_buf *answer, int *status, const atomic_bool *cancel,
                struct bk_err *err) {
  int out[2];
  cleanup_close int in = request_file(request);
  if (in < 0 || pipe2(out, O_CLOEXEC)) return bk_fail_errno(err, errno, "run %s", program);
  pid_t pid;
  int rc = start(program, action, in, out[1], &pid);
  close(out[1]);
  bool ok = rc == 0 && read_answer(out[0], answer, cancel);
  close(out[0]);
  if (rc) return bk_fail_errno(err, rc, "run %s", program);
  if (!ok) kill(-pid, SIGKILL);
  while (waitpid(pid, status, 0) < 0 && errno == EINTR)
    ;
  if (!ok)
    return bk_fail(err, BK_INFRA, "oci.helper", "%s gave no answer within %d s", program,
                   TIMEOUT_S);
  return 0;
}

int oci_helper_run(const char *suffix, const char *action, const char *request,
                   struct bk_buf *answer, const atomic_bool *cancel, struct bk_err *err) {
  if (!plain_suffix(suffix))
    return bk_fail(err, BK_USAGE, "oci.helper", "credential helper name '%.64s' is not plain",
                   suffix);
  char program[100];
  snprintf(program, sizeof program, "docker-credential-%s", suffix);
  answer->max = 1 << 20;
  int status = 0;
  if (talk(program, action, request, answer, &status, cancel, err)) return -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 1;
  return knows_nothing(answer) ? 0 : failed(program, status, err);
}

int oci_cred_helper(const char *suffix, const char *registry, struct oci_cred *out,
                    const atomic_bool *cancel, struct bk_err *err) {
  cleanup_buf struct bk_buf answer = {0};
  int rc = oci_helper_run(suffix, "get", registry, &answer, cancel, err);
  if (rc > 0) {
    char program[100];
    snprintf(program, sizeof program, "docker-credential-%s", suffix);
    rc = understand(program, &answer, out, err);
  }
  if (answer.p) explicit_bzero(answer.p, answer.len);
  return rc;
}
