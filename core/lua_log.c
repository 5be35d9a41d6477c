/* core/lua_log.c: module `moonlb.core.log`; mechanism is core/log.c. */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "lua_util.h"

#define MAX_FIELDS 24

static const char *const level_options[] = { "debug", "info", "warn", "error", NULL };

static int compare_fields(const void *a, const void *b)
{
	return strcmp(((const struct mlb_log_field *)a)->key, ((const struct mlb_log_field *)b)->key);
}

/* The fields of the table at index 2, values made strings in place of a copy that the caller's frame keeps. */
static size_t read_fields(lua_State *L, struct mlb_log_field *fields)
{
	size_t count = 0;

	if (lua_isnoneornil(L, 2))
		return 0;
	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checkstack(L, 2 * MAX_FIELDS + 4, "log fields");
	for (lua_pushnil(L); lua_next(L, 2) && count < MAX_FIELDS; count++) {	/* key value */
		luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 2, "field names are strings");
		fields[count].key = lua_tostring(L, -2);
		fields[count].value = luaL_tolstring(L, -1, NULL);		/* key value text */
		lua_replace(L, -2);						/* key text */
		lua_pushvalue(L, -2);						/* key text key */
	}
	qsort(fields, count, sizeof(fields[0]), compare_fields);
	return count;
}

static int write_line(lua_State *L, enum mlb_log_level level)
{
	const char *message = luaL_checkstring(L, 1);
	struct mlb_log_field fields[MAX_FIELDS];

	if (mlb_log_enabled(level))
		mlb_log_write(level, message, fields, read_fields(L, fields));
	return 0;
}

/* moonlb.core.log.debug(message[, fields]): one line; `fields` maps names to values, written in order of name. */
static int log_debug(lua_State *L)
{
	return write_line(L, MLB_LOG_DEBUG);
}

/* moonlb.core.log.info(message[, fields]) */
static int log_info(lua_State *L)
{
	return write_line(L, MLB_LOG_INFO);
}

/* moonlb.core.log.warn(message[, fields]) */
static int log_warn(lua_State *L)
{
	return write_line(L, MLB_LOG_WARN);
}

/* moonlb.core.log.error(message[, fields]) */
static int log_error(lua_State *L)
{
	return write_line(L, MLB_LOG_ERROR);
}

/* moonlb.core.log.configure{level = "info", json = false}: level is debug, info, warn or error. */
static int log_configure(lua_State *L)
{
	const char *level;

	luaL_checktype(L, 1, LUA_TTABLE);
	level = mlb_opt_string(L, 1, "level", "info");
	for (int i = 0; level_options[i]; i++) {
		if (strcmp(level, level_options[i]) == 0) {
			mlb_log_configure((enum mlb_log_level)i, mlb_opt_boolean(L, 1, "json", false));
			return 0;
		}
	}
	return luaL_error(L, "level: debug, info, warn or error expected, got %s", level);
}

static const luaL_Reg functions[] = {
	{ "configure", log_configure },
	{ "debug", log_debug },
	{ "error", log_error },
	{ "info", log_info },
	{ "warn", log_warn },
	{ NULL, NULL },
};

int luaopen_moonlb_core_log(lua_State *L);

int luaopen_moonlb_core_log(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
