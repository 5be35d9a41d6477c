/* Log lines on stderr: one event a line, `key=value` or JSON. Never a token or a key. */
#ifndef MLB_LOG_H
#define MLB_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum mlb_log_level {
	MLB_LOG_DEBUG,
	MLB_LOG_INFO,
	MLB_LOG_WARN,
	MLB_LOG_ERROR,
};

struct mlb_log_field {
	const char *key;
	const char *value;
};

/* Lines below `level` are dropped; `json` chooses the form. */
void mlb_log_configure(enum mlb_log_level level, bool json);

/* Whether a line of this level would be written. */
bool mlb_log_enabled(enum mlb_log_level level);

/* Write one line: UTC time, level, message, then the fields in the order given. One write(2), so lines
 * of several threads do not mix. A line longer than 8 KiB is cut. */
void mlb_log_write(enum mlb_log_level level, const char *message,
		   const struct mlb_log_field *fields, size_t nfields);

/* The same for C code without fields. */
__attribute__((format(printf, 2, 3))) void mlb_log(enum mlb_log_level level, const char *format, ...);

#endif
