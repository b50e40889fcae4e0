/*
 * Structured logging to standard error: one line per event, `event=<what> key=value …`, values quoted when needed.
 * Thread safe: a line is one write(2). Only the edges log (server/, worker/ loops); libraries return errors.
 */
#ifndef SMARTVM_CORE_LOG_H
#define SMARTVM_CORE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
void log_set_role(const char *role); /* "worker" or "api"; a static string */

/*
 * Pairs of (const char *key, const char *value), ended by NULL; a NULL value prints as -. Example:
 *   log_event(LOG_INFO, "vm.started", "vm", id, "ms", ms_text, NULL);
 */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

#endif
