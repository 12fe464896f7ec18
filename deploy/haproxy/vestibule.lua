-- Asks vestibule about a request: `http-request lua.vestibule ADDRESS:PORT`.
--
-- Sets the variable txn.vestibule to `allowed` where the answer is 200 with every identity header.
-- A refusal of vestibule's goes to the client as it is. Whatever goes wrong leaves the variable as
-- it was, so that the rule behind denies.
--
-- Not by core.httpclient: that of 2.6 tries four times, and waits the whole time at each.

-- Seconds, for each wait and for the whole head.
local TIMEOUT = 2

-- The longest answer's head, and the longest body of a refusal.
local HEAD_BYTES, BODY_BYTES = 65536, 16384

-- What vestibule looks at.
local ASKED = {
    "host", "authorization", "origin", "access-control-request-method",
    "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-for",
}

local IDENTITY = {
    "x-vestibule-kind", "x-vestibule-user-id", "x-vestibule-authress-user-id",
    "x-vestibule-email", "x-vestibule-role", "x-vestibule-account-id",
    "x-vestibule-tenant-id", "x-vestibule-scopes",
}

-- Of a refusal.
local TOLD = { "content-type", "www-authenticate", "x-vestibule-code", "retry-after", "cache-control" }

local function seconds()
    local now = core.now()
    return now.sec + now.usec / 1000000
end

-- The question; none where a header could be read as two.
local function question(txn)
    local sent = txn.http:req_get_headers()
    local lines = { "GET /v1/authorize HTTP/1.1" }
    for _, name in ipairs(ASKED) do
        for _, value in pairs(sent[name] or {}) do
            if value:find("[\r\n%z]") then return nil end
            lines[#lines + 1] = name .. ": " .. value
        end
    end
    if not sent["host"] then lines[#lines + 1] = "host:" end
    lines[#lines + 1] = "connection: close"
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Status, headers and the socket from which the body can be read; nothing where anything is odd.
local function ask(address, text)
    local socket, begun, length = core.tcp(), seconds(), 0
    socket:settimeout(TIMEOUT)
    if not socket:connect(address) or not socket:send(text) then return end
    local status, headers = nil, {}
    while true do
        local line = socket:receive("*l")
        if not line or seconds() - begun > TIMEOUT then return end
        line = line:gsub("\r$", "")
        length = length + #line
        if length > HEAD_BYTES then return end
        if not status then
            status = tonumber(line:match("^HTTP/1%.1 (%d%d%d)"))
            if not status then return end
        elseif line == "" then
            return status, headers, socket
        else
            local name, value = line:match("^([^:%s]+):%s*(.-)%s*$")
            if not name then return end
            headers[name:lower()] = value
        end
    end
end

local function vestibule(txn, address)
    local text = question(txn)
    local status, headers, socket
    if text then
        status, headers, socket = ask(address, text)
    end
    if not status then return end

    if status == 200 then
        for _, name in ipairs(IDENTITY) do
            if not headers[name] then return end
        end
        for _, name in ipairs(IDENTITY) do
            txn.http:req_set_header(name, headers[name])
        end
        if headers["x-vestibule-assertion"] then
            txn.http:req_set_header("x-vestibule-assertion", headers["x-vestibule-assertion"])
        end
        socket:close()
        txn:set_var("txn.vestibule", "allowed")
    elseif status >= 400 and headers["x-vestibule-code"] then
        local length = tonumber(headers["content-length"] or 0) or 0
        local body = length > 0 and length <= BODY_BYTES and socket:receive(length) or ""
        socket:close()
        local refusal = txn:reply{ status = status, body = body }
        for _, name in ipairs(TOLD) do
            if headers[name] then refusal:add_header(name, headers[name]) end
        end
        txn:done(refusal)
    end
end

core.register_action("vestibule", { "http-req" }, vestibule, 1)
