-- wrk ... -s load.lua URL -- TOKENS START [ORDER]
--
-- One request for each token, in turn from START on; or, with a file of numbers, in that order. All
-- requests are made before the run: while it lasts the load does as little as it can.
local requests, order, turn = {}, {}, 0

init = function(arguments)
    for token in io.lines(arguments[1]) do
        requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
    end
    turn = tonumber(arguments[2])
    if arguments[3] then
        for number in io.lines(arguments[3]) do order[#order + 1] = requests[tonumber(number)] end
    else
        order = requests
    end
end

request = function()
    turn = turn % #order + 1
    return order[turn]
end

done = function(summary, latency)
    local errors = summary.errors
    local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print("RESULT", summary.requests, summary.duration, wrong,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9))
end
