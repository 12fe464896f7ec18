-- Asks vestibule about a request: `http-request lua.vestibule URL-OF-/v1/authorize`.
--
-- Sets the variable txn.vestibule to `allowed` where the answer is 200 and names a caller or
-- nobody, with every identity header. Any other answer of vestibule goes to the client. Whatever
-- goes wrong leaves the variable as it is, so that the rule behind denies.

-- Milliseconds, for connecting and for each wait.
local TIMEOUT = 2000

-- What vestibule looks at.
local ASKED = {
    "authorization", "origin", "access-control-request-method",
    "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-for",
}

local IDENTITY = {
    "x-vestibule-kind", "x-vestibule-user-id", "x-vestibule-authress-user-id",
    "x-vestibule-email", "x-vestibule-role", "x-vestibule-account-id",
    "x-vestibule-tenant-id", "x-vestibule-scopes",
}

-- Of a refusal.
local TOLD = { "content-type", "www-authenticate", "x-vestibule-code", "retry-after", "cache-control" }

-- The first of a header's values; their table begins at 0.
local function first(values)
    return values and (values[0] or values[1])
end

local function vestibule(txn, url)
    local sent, asked = txn.http:req_get_headers(), {}
    for _, name in ipairs(ASKED) do
        asked[name] = sent[name]
    end
    asked["host"] = sent["host"]
    local answer = core.httpclient():get{ url = url, headers = asked, timeout = TIMEOUT }
    local headers = answer and answer.headers or {}

    if answer and answer.status == 200 then
        for _, name in ipairs(IDENTITY) do
            local value = first(headers[name])
            if not value then return end
            txn.http:req_set_header(name, value)
        end
        local assertion = first(headers["x-vestibule-assertion"])
        if assertion then
            txn.http:req_set_header("x-vestibule-assertion", assertion)
        end
        txn:set_var("txn.vestibule", "allowed")
    elseif answer and answer.status >= 400 and first(headers["x-vestibule-code"]) then
        local refusal = txn:reply{ status = answer.status, body = answer.body }
        for _, name in ipairs(TOLD) do
            local value = first(headers[name])
            if value then refusal:add_header(name, value) end
        end
        txn:done(refusal)
    end
end

core.register_action("vestibule", { "http-req" }, vestibule, 1)
