/* System calls that fail, fall short, come late or tell a false time, under the built extension.
 *
 * Compiled by tests/test_faults.py and put before libc with LD_PRELOAD; armed from Python with ctypes. Only calls on
 * files whose path holds the armed text are touched. Counts every such call, so that a test can see a retry.
 *
 * fallocate is called without libc, so the kernel is asked to refuse it: for all files, and for good. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum call { SYNC, WRITE, CALLS };
enum fault { NONE, FAIL, TEAR, SHORT, BLOCK };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static struct {
    enum fault fault;
    long countdown; /* the call that it strikes: 1 is the next */
    char path[64];
    long calls;
    int blocked;
} armed[CALLS];
static long clock_shift;

void fault_arm(int call, int fault, long countdown, const char *path) {
    pthread_mutex_lock(&lock);
    armed[call].fault = fault;
    armed[call].countdown = countdown;
    armed[call].calls = 0;
    snprintf(armed[call].path, sizeof armed[call].path, "%s", path);
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
}

long fault_calls(int call) { return armed[call].calls; }
int fault_blocked(int call) { return armed[call].blocked; }

/* From now on fallocate fails with `error` in every thread of this process; 0 or why that cannot be. */
int fault_refuse_fallocate(int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ? 0 : errno;
}

void fault_shift_clock(long seconds) { clock_shift = seconds; }

static enum fault strikes(int call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    enum fault fault = NONE;
    pthread_mutex_lock(&lock);
    if (armed[call].path[0] && strstr(path, armed[call].path)) {
        armed[call].calls++;
        if (armed[call].fault == SHORT)
            fault = SHORT; /* every call, until disarmed */
        else if (armed[call].countdown > 0 && --armed[call].countdown == 0)
            fault = armed[call].fault;
        if (fault == BLOCK) {
            armed[call].blocked = 1;
            while (armed[call].fault == BLOCK)
                pthread_cond_wait(&released, &lock);
            armed[call].blocked = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return fault;
}

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

int fdatasync(int fd) {
    if (strikes(SYNC, fd) == FAIL) {
        errno = EIO;
        return -1;
    }
    return NEXT(fdatasync)(fd);
}

int fsync(int fd) {
    if (strikes(SYNC, fd) == FAIL) {
        errno = EIO;
        return -1;
    }
    return NEXT(fsync)(fd);
}

static __thread int torn;

static ssize_t write_at(int fd, const void *bytes, size_t count, off64_t offset) {
    if (torn) { /* the rest of a write of which a part went in */
        torn = 0;
        errno = EIO;
        return -1;
    }
    switch (strikes(WRITE, fd)) {
    case FAIL:
        errno = EIO;
        return -1;
    case TEAR:
        torn = 1;
        return NEXT(pwrite64)(fd, bytes, count - count / 8, offset);
    case SHORT:
        return NEXT(pwrite64)(fd, bytes, count > 1 ? count / 2 : count, offset);
    default:
        return NEXT(pwrite64)(fd, bytes, count, offset);
    }
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return write_at(fd, bytes, count, offset); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return write_at(fd, bytes, count, offset); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int outcome = NEXT(clock_gettime)(clock, now);
    if (outcome == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += clock_shift;
    return outcome;
}

time_t time(time_t *out) {
    time_t now = NEXT(time)(NULL) + clock_shift;
    if (out)
        *out = now;
    return now;
}
