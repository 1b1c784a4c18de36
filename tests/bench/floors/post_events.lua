-- What wrk sends: one event a request, for one of 10,000 people. The server makes the event's id.
local people = 10000
local text = string.rep("The help desk has written to you about your ticket. ", 5)
local body = '{"type":"message","source":"/bench","data":{"title":"Ticket %d was answered","body":"' .. text ..
             '"},"audience":{"users":["user-%d"]}}'

function request()
  local n = math.random(people)
  return wrk.format("POST", nil, nil, string.format(body, n, n))
end

function init(arguments)
  math.randomseed(os.time())
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format(
    "\n{\"requests\": %d, \"failed\": %d, \"microseconds\": %d, \"p50\": %d, \"p99\": %d}\n",
    summary.requests, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
