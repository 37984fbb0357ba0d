-- For wrk: POSTs the images of a folder in rotation, and prints the figures as one line of JSON.
-- wrk ... -s serve_load.lua URL -- FOLDER COUNT
local requests, at = {}, 0

function init(args)
    for i = 0, tonumber(args[2]) - 1 do
        local file = assert(io.open(string.format("%s/%05d.png", args[1], i), "rb"))
        local body = file:read("*a")
        file:close()
        requests[#requests + 1] = wrk.format("POST", "/classify", { ["Content-Type"] = "image/png" }, body)
    end
    at = math.random(#requests)
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %.3f, "p50_ms": %.2f, "p90_ms": %.2f, "p99_ms": %.2f, "max_ms": %.2f, '
            .. '"not_2xx": %d, "socket_errors": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
        latency:percentile(99) / 1e3, latency.max / 1e3, e.status, e.connect + e.read + e.write + e.timeout))
end
