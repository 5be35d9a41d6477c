/* moonlb: start the runtime and hand the arguments to lua/moonlb/cli. */
#include <uv.h>

#include "policy_worker.h"
#include "runtime.h"

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct lua_State *L;
	int code;

	if (mlb_policy_worker_wanted(argc, argv))
		mlb_policy_worker_main(argc, argv);
	argv = uv_setup_args(argc, argv);
	L = mlb_runtime_open(loop);
	code = mlb_runtime_main(L, "moonlb.cli", argc, argv);
	mlb_runtime_close(L, loop);
	return code;
}
