/* Faults on purpose, put before a program by LD_PRELOAD.
 *
 * FAULT_WRITE=N, FAULT_FSYNC=N: the N-th write to, or fsync of, a database file (*.db, *.db-wal) fails with EIO.
 * FAULT_CLOCK=FILE: the wall clock is off by the seconds that FILE holds; the monotonic clock is not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int is_database(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  const char *end = strrchr(path, '.');
  return end && (!strcmp(end, ".db") || !strcmp(end, ".db-wal"));
}

/* Whether this is the call that fails. */
static int fails(const char *name, int *count, int fd) {
  const char *which = getenv(name);
  return which && is_database(fd) && __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST) == atoi(which);
}

static int writes, syncs;

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  if (fails("FAULT_WRITE", &writes, fd)) { errno = EIO; return -1; }
  return real(fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (fails("FAULT_FSYNC", &syncs, fd)) { errno = EIO; return -1; }
  return real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if (fails("FAULT_FSYNC", &syncs, fd)) { errno = EIO; return -1; }
  return real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  const char *path = getenv("FAULT_CLOCK");
  if (result == 0 && path && clock == CLOCK_REALTIME) {
    char text[32] = {0};
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
      if (read(fd, text, sizeof text - 1) > 0) now->tv_sec += atoll(text);
      close(fd);
    }
  }
  return result;
}
