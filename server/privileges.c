#include "server/privileges.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { DESCRIPTORS = 65536 };

static int find_user(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct error *err)
{
    char buf[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    int errnum = getpwnam_r(user, &entry, buf, sizeof buf, &found);
    if (errnum != 0) {
        return error_sys(err, ERR_SYSTEM, errnum, "cannot look up the user '%s'", user);
    }
    if (found == NULL) {
        return error_set(err, ERR_INVALID_CONFIG, "user: there is no user '%s' on this host", user);
    }
    if (found->pw_uid == 0 || found->pw_gid == 0) {
        return error_set(err, ERR_INVALID_CONFIG, "user: '%s' is root; the API process needs a user of its own", user);
    }
    *ret_uid = found->pw_uid;
    *ret_gid = found->pw_gid;
    return 0;
}

/* Best effort: a lower limit only means fewer clients at once. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit = {.rlim_cur = DESCRIPTORS, .rlim_max = DESCRIPTORS};
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) < 0 || now.rlim_cur >= DESCRIPTORS) {
        return;
    }
    if (now.rlim_max >= DESCRIPTORS) {
        limit.rlim_max = now.rlim_max;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        now.rlim_cur = now.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &now);
    }
}

/* Only a process that still has CAP_SETPCAP can do this, so it comes before the change of user. */
static int clear_bounding_set(struct error *err)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot drop capability %d from the bounding set", cap);
        }
    }
    return 0;
}

static int clear_capabilities(struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    if (syscall(SYS_capset, &header, none) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot clear the capabilities");
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot clear the ambient capabilities");
    }
    return 0;
}

/* `user`: whose supplementary groups it gets; NULL: none. */
static int become(const char *user, uid_t uid, gid_t gid, struct error *err)
{
    if ((user != NULL ? initgroups(user, gid) : setgroups(0, NULL)) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot take over the groups of uid %u", (unsigned)uid);
    }
    if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot become uid %u", (unsigned)uid);
    }
    return 0;
}

/* A change of user clears the death signal and sets dumpable anew, so these come last. */
static int bind_to_parent(pid_t parent, int signal, struct error *err)
{
    if (prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot ask for a signal at the end of the worker");
    }
    if (getppid() != parent) {
        return error_set(err, ERR_UNAVAILABLE, "the worker has ended already");
    }
    return 0;
}

static int drop_to(const char *user, uid_t uid, gid_t gid, struct error *err)
{
    (void)umask(007);
    if (clear_bounding_set(err) < 0 || become(user, uid, gid, err) < 0 || clear_capabilities(err) < 0) {
        return -1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot set no_new_privs and not dumpable");
    }
    if (setuid(0) == 0 || setgid(0) == 0) {
        return error_set(err, ERR_SYSTEM, "root could be regained after privileges were dropped");
    }
    return 0;
}

int drop_privileges(const char *user, pid_t parent, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (find_user(user, &uid, &gid, err) < 0) {
        return -1;
    }
    raise_descriptor_limit();
    return drop_to(user, uid, gid, err) < 0 ? -1 : bind_to_parent(parent, SIGTERM, err);
}

/* The daemon's own is low; who unpacks what others made is the first to go where memory is short. Best effort. */
static void raise_oom_score(void)
{
    static const char score[] = "500";
    AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, score, sizeof score - 1) < 0) {
        return;
    }
}

int drop_privileges_of_inspector(pid_t parent, struct error *err)
{
    raise_oom_score();
    return drop_to(NULL, INSPECTOR_UID, INSPECTOR_UID, err) < 0 ? -1 : bind_to_parent(parent, SIGKILL, err);
}
