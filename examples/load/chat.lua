-- A chat request for wrk, whose command line knows neither methods nor bodies:
--
--   wrk -t2 -c64 -d30s --timeout 30s --latency -s examples/load/chat.lua http://127.0.0.1:9000
--
-- BODY      another file than examples/load/chat.json
-- REQUESTS  how many each thread sends; without it wrk sends until its time is over, and cuts off
--           what is under way then

local body = assert(io.open(os.getenv("BODY") or "examples/load/chat.json"))
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.body = body:read("*a")
body:close()

local unsent = tonumber(os.getenv("REQUESTS"))
local unanswered = unsent

if unsent then
  local for_ever_ms = 24 * 3600 * 1000

  function delay() -- before each request
    unsent = unsent - 1
    return unsent < 0 and for_ever_ms or 0
  end

  function response() -- after each answer
    unanswered = unanswered - 1
    if unanswered == 0 then
      wrk.thread:stop()
    end
  end
end
