#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum mlb_log_level threshold = MLB_LOG_INFO;
static bool as_json;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

struct line {
	char text[8192];
	size_t used;
};

static void put(struct line *line, char c)
{
	if (line->used < sizeof(line->text) - 1)	/* one byte is kept for the newline */
		line->text[line->used++] = c;
}

static void put_text(struct line *line, const char *text)
{
	while (*text)
		put(line, *text++);
}

/* A JSON string; also the quoted form of `key="value"`. Bytes above 0x7f pass: UTF-8 is JSON's encoding. */
static void put_quoted(struct line *line, const char *text)
{
	put(line, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			put(line, '\\');
			put(line, (char)c);
		} else if (c == '\n') {
			put_text(line, "\\n");
		} else if (c < 0x20 || c == 0x7f) {
			char escaped[8];

			snprintf(escaped, sizeof(escaped), "\\u%04x", c);
			put_text(line, escaped);
		} else {
			put(line, (char)c);
		}
	}
	put(line, '"');
}

static bool is_plain(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text == '"' || *text == '=' || *text == '\\' || *text == 0x7f)
			return false;
	return true;
}

static void put_pair(struct line *line, const char *key, const char *value)
{
	if (as_json) {
		put(line, line->used ? ',' : '{');
		put_quoted(line, key);
		put(line, ':');
		put_quoted(line, value);
		return;
	}
	if (line->used)
		put(line, ' ');
	put_text(line, key);
	put(line, '=');
	if (is_plain(value))
		put_text(line, value);
	else
		put_quoted(line, value);
}

static void format_now(char *text, size_t size)
{
	struct timespec now;
	struct tm utc;
	size_t used;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	used = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + used, size - used, ".%03ldZ", now.tv_nsec / 1000000);
}

void mlb_log_configure(enum mlb_log_level level, bool json)
{
	threshold = level;
	as_json = json;
}

bool mlb_log_enabled(enum mlb_log_level level)
{
	return level >= threshold;
}

void mlb_log_write(enum mlb_log_level level, const char *message,
		   const struct mlb_log_field *fields, size_t nfields)
{
	struct line line = { .used = 0 };
	char time_text[40];
	ssize_t ignored;

	if (!mlb_log_enabled(level))
		return;
	format_now(time_text, sizeof(time_text));
	put_pair(&line, "time", time_text);
	put_pair(&line, "level", level_names[level]);
	put_pair(&line, "msg", message);
	for (size_t i = 0; i < nfields; i++)
		put_pair(&line, fields[i].key, fields[i].value);
	if (as_json)
		put(&line, '}');
	line.text[line.used++] = '\n';
	ignored = write(STDERR_FILENO, line.text, line.used);
	(void)ignored;	/* there is nowhere left to report it to */
}

void mlb_log(enum mlb_log_level level, const char *format, ...)
{
	char message[2048];
	va_list args;

	if (!mlb_log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	mlb_log_write(level, message, NULL, 0);
}
